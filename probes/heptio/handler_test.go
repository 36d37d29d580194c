// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heptiolabs/healthcheck"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/heptio"
)

// dump returns a whole answer, status line and headers included.
func dump(t *testing.T, h http.Handler, method, path string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	b, err := httputil.DumpResponse(w.Result(), true)
	require.NoError(t, err)
	return string(b)
}

// Both handlers are given the same checks and asked the same, and answer the
// same to the byte.
func TestTheAnswersAreTheirs(t *testing.T) {
	for name, register := range map[string]func(healthcheck.Handler){
		"no checks": func(healthcheck.Handler) {},
		"passing": func(h healthcheck.Handler) {
			h.AddLivenessCheck("goroutines", healthcheck.GoroutineCountCheck(1_000_000))
			h.AddReadinessCheck("db", func() error { return nil })
		},
		"not ready": func(h healthcheck.Handler) {
			h.AddLivenessCheck("goroutines", healthcheck.GoroutineCountCheck(1_000_000))
			h.AddReadinessCheck("db", func() error { return errors.New("connection refused") })
			h.AddReadinessCheck("a cache", func() error { return nil })
		},
		"not live": func(h healthcheck.Handler) {
			h.AddLivenessCheck("loop", func() error { return errors.New("stuck") })
			h.AddReadinessCheck("db", func() error { return nil })
		},
		"not what JSON likes": func(h healthcheck.Handler) {
			h.AddReadinessCheck("<d\"b> & é\\", func() error { return errors.New("\xff & 'down' \x00") })
			h.AddReadinessCheck("empty", func() error { return errors.New("") })
		},
		"the same name": func(h healthcheck.Handler) {
			h.AddReadinessCheck("db", func() error { return errors.New("not ready") })
			h.AddLivenessCheck("db", func() error { return errors.New("not live") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			theirs, ours := healthcheck.NewHandler(), heptio.NewHandler(nil)
			register(theirs)
			register(ours)
			// A busy machine may not have run all the checks in half a second.
			require.Eventually(t, func() bool {
				return dump(t, theirs, "GET", "/ready?full=1") == dump(t, ours, "GET", "/ready?full=1")
			}, time.Minute, time.Millisecond)
			for _, path := range []string{
				"/live", "/live?full=1", "/live?full=0", "/live?full", "/live?full=2&full=1", "/live/", "//live",
				"/ready", "/ready?full=1", "/ready?FULL=1", "/ready?full=true", "/ready?x=1&full=1", "/ready?exclude=db", "/", "/livez",
			} {
				for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "get"} {
					assert.Equal(t, dump(t, theirs, method, path), dump(t, ours, method, path), "%s %s", method, path)
				}
			}
			for _, method := range []string{"GET", "POST"} {
				assert.Equal(t, dump(t, http.HandlerFunc(theirs.LiveEndpoint), method, "/anywhere?full=1"),
					dump(t, http.HandlerFunc(ours.LiveEndpoint), method, "/anywhere?full=1"))
				assert.Equal(t, dump(t, http.HandlerFunc(theirs.ReadyEndpoint), method, "/anywhere?full=1"),
					dump(t, http.HandlerFunc(ours.ReadyEndpoint), method, "/anywhere?full=1"))
			}
		})
	}
}

// A rig is a handler on a registry that runs, in a bubble.
type rig struct {
	healthcheck.Handler
	registry *probes.Registry
	stop     func()
}

func newRig(t *testing.T) *rig {
	r := &rig{registry: &probes.Registry{Logger: slog.New(slog.DiscardHandler)}}
	r.Handler = heptio.NewHandler(r.registry)
	r.registry.Started()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.registry.Run(ctx) }()
	r.stop = func() { cancel(); assert.NoError(t, <-ran) }
	return r
}

func TestWhatTheRegistryKnowsBetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		assert.Equal(t, "200 ", get(r, "HEAD", "/ready"))
		assert.Equal(t, "200 {}\n", get(r, "GET", "/ready?full=1"))

		// The name that both kinds have: with healthcheck the failure is not seen.
		r.AddReadinessCheck("db", func() error { return errors.New("down") })
		r.AddLivenessCheck("db", func() error { return nil })
		const down = "503 {\n    \"db\": \"down\"\n}\n"
		assert.Equal(t, down, get(r, "GET", "/ready?full=1"))
		assert.Equal(t, "503 ", get(r, "HEAD", "/ready?full=1"))
		assert.Equal(t, "200 {\n    \"db\": \"OK\"\n}\n", get(r, "GET", "/live?full=1"))

		r.AddReadinessCheck("db", func() error { return nil })
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "200 {}\n", get(r, "GET", "/ready"))
		r.registry.Shutdown()
		for range 3 { // the last result, however old it is by then
			assert.Equal(t, "503 {\n    \"db\": \"OK\",\n    \"readiness\": \"not ready: shutting down\"\n}\n", get(r, "GET", "/ready?full=1"))
			time.Sleep(time.Hour)
		}
		assert.Equal(t, "200 {}\n", get(r, "GET", "/live"))
		r.stop()
	})
}

func TestACheckOfTheRegistryItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.registry.AddReadiness(probes.Check{
			Name: "cache",
			Func: func(context.Context) error { return errors.New("password=hunter2") },
		}))
		require.NoError(t, r.registry.AddLiveness("loop", func() error { return errors.New("stuck") }))
		synctest.Wait()
		assert.Equal(t, "503 {\n    \"liveness\": \"not live\",\n    \"readiness\": \"not ready: cache\"\n}\n",
			get(r, "GET", "/ready?full=1"))
		assert.Equal(t, "503 {\n    \"liveness\": \"not live\"\n}\n", get(r, "GET", "/live?full=1"))
		r.stop()
	})
}

func TestAProbeWaitsForFirstResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.AddReadinessCheck("slow", func() error { time.Sleep(400 * time.Millisecond); return nil })
		began := time.Now()
		assert.Equal(t, "200 {}\n", get(r, "GET", "/ready"))
		assert.InDelta(t, 400*time.Millisecond, time.Since(began), float64(time.Millisecond))
		assert.Equal(t, "200 {}\n", get(r, "GET", "/ready"))
		assert.InDelta(t, 400*time.Millisecond, time.Since(began), float64(time.Millisecond))

		// Not for long, and not for a client that has gone.
		release := make(chan struct{})
		began = time.Now()
		r.AddLivenessCheck("hangs", func() error { <-release; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/live", nil))
		assert.InDelta(t, 100*time.Millisecond, time.Since(began), float64(time.Millisecond))
		assert.Equal(t, "200 {\n    \"hangs\": \"no data yet\"\n}\n", get(r, "GET", "/live?full=1"))
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		for range 100 {
			assert.Equal(t, "503 {\n    \"hangs\": \"timed out after 1s\"\n}\n", get(r, "GET", "/live?full=1"))
		}
		assert.Equal(t, time.Second, time.Since(began), "an old hang holds nobody up")

		close(release)
		synctest.Wait()
		assert.Equal(t, "503 {\n    \"hangs\": \"timed out after 1s\"\n}\n", get(r, "GET", "/live?full=1"), "too late")
		time.Sleep(probes.DefaultInterval)
		synctest.Wait()
		assert.Equal(t, "200 {}\n", get(r, "GET", "/live"))
		r.stop()
	})
}

func TestPanicsAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.AddLivenessCheck("panics", func() error { panic("bug") })
		r.AddReadinessCheck("exits", func() error { runtime.Goexit(); return nil })
		assert.Equal(t, "503 {\n    \"exits\": \"panic or runtime.Goexit\",\n    \"panics\": \"panic or runtime.Goexit\"\n}\n",
			get(r, "GET", "/ready?full=1"))
		assert.Equal(t, map[string]string{"panics": "panic: bug", "exits": "runtime.Goexit called"}, r.registry.Panics())
		r.stop()
	})
}

func TestResultsGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.AddReadinessCheck("db", func() error { return nil })
		assert.Equal(t, "200 {}\n", get(r, "GET", "/ready"))
		r.stop() // nobody renews them
		time.Sleep(probes.DefaultInterval + probes.DefaultTimeout)
		assert.Equal(t, "503 {\n    \"db\": \"no result in time\"\n}\n", get(r, "GET", "/ready?full=1"))
	})
}

func TestAReplacedCheckIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var calls atomic.Int32
		release := make(chan struct{})
		r.AddReadinessCheck("db", func() error { calls.Add(1); <-release; return errors.New("old") })
		synctest.Wait()
		r.AddReadinessCheck("db", func() error { return nil })
		close(release)
		synctest.Wait()
		assert.Equal(t, "503 {\n    \"db\": \"no data yet\"\n}\n", get(r, "GET", "/ready?full=1"))
		time.Sleep(probes.DefaultInterval)
		synctest.Wait()
		assert.Equal(t, "200 {\n    \"db\": \"OK\"\n}\n", get(r, "GET", "/ready?full=1"))
		assert.EqualValues(t, 1, calls.Load())
		r.stop()
	})
}

func TestManyAddAndAskAtOnce(t *testing.T) {
	h := heptio.NewHandler(nil)
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 50 {
				h.AddReadinessCheck("db", func() error { return nil })
				h.AddLivenessCheck("loop", func() error { return nil })
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/ready?full=1", nil))
			}
		}()
	}
	for range 8 {
		<-done
	}
}

// When Run is over liveness stays what it was, and ?full=1 says the same.
func TestLivenessWhenRunIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.AddLivenessCheck("loop", func() error { return nil })
		assert.Equal(t, "200 {}\n", get(r, "GET", "/live"))
		r.stop()
		time.Sleep(time.Hour)
		assert.Equal(t, "200 {}\n", get(r, "GET", "/live"))
		assert.Equal(t, "200 {\n    \"loop\": \"OK\"\n}\n", get(r, "GET", "/live?full=1"))
	})
}
