// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A sink is a ResponseWriter that does nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func TestAnswersDoNotAllocate(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		red := new(probes.Registry)
		red.Started()
		for i := range n { // of which none expires meanwhile
			require.NoError(t, red.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass, Interval: time.Hour, Timeout: time.Hour}))
		}
		handlers := []http.Handler{red.LiveHandler(), red.ReadyHandler(), red.StartupHandler(), red.ServingHandler(), red.Handler(), ready(t, n)}
		w, req := &sink{make(http.Header, 8)}, kubelet()
		for _, h := range handlers {
			assert.Zero(t, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, req) }), n)
		}
	}
}

func TestExpiredAnswersDoNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 1000 {
			require.NoError(t, r.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass}))
		}
		r.run()
		r.end()
		time.Sleep(forLong)
		h, w, req := r.ReadyHandler(), &sink{make(http.Header, 8)}, kubelet()
		assert.Zero(t, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, req) }))
	})
}

func TestBeatDoesNotAllocate(t *testing.T) {
	var r probes.Registry
	h, err := r.AddHeartbeat("worker", time.Hour)
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(1000, h.Beat))
}
