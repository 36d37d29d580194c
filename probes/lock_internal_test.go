// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever holds the registry's mutex, and for however long, probes are answered:
// they take no lock. The page does for its history, and a check on demand whose
// result is too old has to be demanded.
func TestProbesTakeNoLock(t *testing.T) {
	r := new(Registry)
	down := func(context.Context) error { return context.Canceled }
	require.NoError(t, r.AddReadiness(
		Check{Name: "db", Func: down},
		Check{Name: "web", Func: down, DependsOn: []string{"db"}},
		Check{Name: "fresh", Func: func(context.Context) error { return nil }, TTL: time.Hour},
	))
	require.NoError(t, r.AddLiveness("loop", func() error { return nil }))
	_, err := r.AddHeartbeat("beat", time.Hour)
	require.NoError(t, err)
	_, err = r.AddHeartbeat("late", time.Nanosecond)
	require.NoError(t, err)
	r.Started()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	for r.checks.find(readiness, "fresh").known.Load().ended.IsZero() { // or else it would be asked for
		r.demand(t.Context(), readiness, "", nil)
		runtime.Gosched() // until Run runs
	}

	h := r.Handler()
	targets := []string{
		"/livez", "/readyz", "/startupz", "/servingz", "/livez/beat", "/livez/late", "/readyz/db", "/readyz/none", "/nowhere",
		"/livez?verbose", "/readyz?verbose", "/startupz?verbose", "/readyz?format=json&verbose", "/readyz?exclude=db&exclude=web&exclude=none",
	}
	codes := func() (codes []int) {
		for _, target := range targets {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
			codes = append(codes, w.Code)
		}
		return codes
	}
	want := codes()
	answered := make(chan []int, 1)
	r.mu.Lock()
	go func() {
		r.Status()
		answered <- codes()
	}()
	select {
	case got := <-answered:
		assert.Equal(t, want, got)
		r.mu.Unlock()
	case <-time.After(time.Minute):
		r.mu.Unlock()
		<-answered
		assert.Fail(t, "a probe waits for the lock")
	}
	cancel()
	require.NoError(t, <-ran)
}
