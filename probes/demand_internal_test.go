// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A sink is a ResponseWriter that keeps the status.
type sink struct {
	header http.Header
	code   int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(code int)        { s.code = code }

// A probe that has no run to start or to wait for takes no lock, here held by
// somebody else all the time, and no allocation.
func TestProbesOfChecksOnDemandTakeNoLock(t *testing.T) {
	pass := func(context.Context) error { return nil }
	for name, tt := range map[string]struct {
		check   Check
		running bool
		want    int
		after   func(t *testing.T, r *Registry) // the first probe
	}{
		"fresh":          {Check{Func: pass, TTL: time.Hour}, true, 200, nil},
		"failing":        {Check{Func: func(context.Context) error { return context.Canceled }, TTL: time.Hour}, true, 503, nil},
		"late":           {Check{TTL: 1, Timeout: time.Millisecond}, true, 503, nil},
		"late, degraded": {Check{TTL: 1, Timeout: time.Millisecond, Optional: true}, true, 200, nil},
		"late once of ten": {Check{TTL: 1, Timeout: time.Millisecond, FailingInterval: time.Hour, FailureThreshold: 10,
			InitiallyPassing: true}, true, 200, nil},
		"nobody runs it":       {Check{Func: pass, TTL: 1}, false, 503, nil},
		"nobody runs it, open": {Check{Func: pass, TTL: 1, InitiallyPassing: true, Timeout: time.Hour}, false, 200, nil},
		"shut down":            {Check{Func: pass, TTL: 1}, true, 503, func(_ *testing.T, r *Registry) { r.Shutdown() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(Registry)
			r.Started()
			release := make(chan struct{})
			c := tt.check
			c.Name = "demanded"
			if c.Func == nil {
				c.Func = func(context.Context) error { <-release; return nil }
			}
			require.NoError(t, r.AddReadiness(c))
			for i := range 1000 {
				require.NoError(t, r.AddReadiness(Check{Name: strconv.Itoa(i), Func: pass, Interval: time.Hour, Timeout: time.Hour, InitiallyPassing: true}))
			}
			ctx, cancel := context.WithCancel(context.Background())
			ran := make(chan error, 1)
			if tt.running {
				go func() { ran <- r.Run(ctx) }()
				require.Eventually(t, r.settled, time.Minute, time.Millisecond)
			} else {
				ran <- nil
			}
			w, req, h := &sink{header: make(http.Header, 8)}, httptest.NewRequest(http.MethodGet, "/readyz", nil), r.ReadyHandler()
			h.ServeHTTP(w, req)
			if tt.after != nil {
				tt.after(t, r)
			}
			r.mu.Lock()
			allocs := make(chan float64, 1)
			go func() { allocs <- testing.AllocsPerRun(100, func() { h.ServeHTTP(w, req) }) }()
			select {
			case n := <-allocs:
				assert.Zero(t, n)
				assert.Equal(t, tt.want, w.code)
				r.mu.Unlock()
			case <-time.After(time.Minute):
				r.mu.Unlock()
				<-allocs
				assert.Fail(t, "a probe has waited for the lock")
			}
			close(release)
			cancel()
			require.NoError(t, <-ran)
		})
	}
}

// settled reports whether all checks at an interval have run.
func (r *Registry) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.order {
		if c.TTL == 0 && c.known.Load().ended.IsZero() {
			return false
		}
	}
	return true
}

// Who waits for a run that is not to come any more is not answered what held
// before that was found.
func TestWhoIsLetGoSeesWhy(t *testing.T) {
	r := new(Registry)
	r.begin() // and nothing runs, so that nothing else publishes
	r.Started()
	pass := func(context.Context) error { return nil }
	require.NoError(t, r.AddReadiness(Check{Name: "db", Func: pass, Interval: time.Hour}, Check{Name: "orders", Func: pass, TTL: 1, DependsOn: []string{"db"}}))
	db := r.order[0]
	run := func(failed bool) {
		r.mu.Lock()
		db.running, db.began = true, time.Now()
		db.due = db.began.Add(db.Timeout)
		r.mu.Unlock()
		r.end(t.Context(), db, outcome{failed: failed}, db.began)
	}
	run(false)
	runs := r.demandAll(readiness, "", nil, time.Now())
	require.Len(t, runs, 1)
	run(true)
	<-runs[0]
	assert.Empty(t, r.demandAll(readiness, "", nil, time.Now()))
	assert.Equal(t, "not ready: db; skipped: orders", r.snapshot().verdict(readiness).line)
}
