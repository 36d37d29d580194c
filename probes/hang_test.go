// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// Checks that never return, one of every sort, cost a goroutine each, after an hour
// and after a thousand probes; they fail within their timeouts, and delay neither a
// probe nor a registration nor Shutdown nor the end of Run.
func TestHangsOfEverySort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		release := make(chan struct{})
		lock := make(chanLocker) // nobody unlocks it
		var calls atomic.Int32
		hang := func(context.Context) error { calls.Add(1); <-release; return nil }
		instant := func(what string, f func()) {
			t.Helper()
			t0 := time.Now()
			f()
			assert.Zero(t, time.Since(t0), what)
		}
		instant("registration", func() {
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: "critical", Func: hang},
				probes.Check{Name: "optional", Func: hang, Optional: true, Timeout: 2 * time.Second},
				probes.Check{Name: "shared", Func: hang, Tolerate: time.Hour, Timeout: 3 * time.Second},
				probes.Check{Name: "threshold", Func: hang, FailureThreshold: 3},
				probes.Check{Name: "initially", Func: hang, InitiallyPassing: true, Timeout: 500 * time.Millisecond},
				probes.Check{Name: "dependant", Func: hang, DependsOn: []string{"critical"}},
			))
			require.NoError(t, r.AddLiveness("own", func() error { return hang(t.Context()) }))
			require.NoError(t, r.AddLock("lock", lock, 0))
		})
		const hung = 7 // dependant is not called
		at := func(after time.Duration, paths ...string) {
			t.Helper()
			for _, path := range paths {
				assert.Equal(t, http.StatusServiceUnavailable, request(r.Handler(), http.MethodGet, path).Code, "%s after %v", path, after)
			}
		}
		time.Sleep(500*time.Millisecond - 1)
		assert.Equal(t, http.StatusOK, request(r.Handler(), http.MethodGet, "/readyz/initially").Code)
		assert.Equal(t, okBody, r.live())
		time.Sleep(time.Nanosecond)
		at(500*time.Millisecond, "/readyz/initially")
		time.Sleep(500 * time.Millisecond)
		at(time.Second, "/readyz/critical", "/readyz/dependant", "/livez/own", "/livez/lock", "/livez", "/readyz")
		time.Sleep(2 * time.Second)
		at(3*time.Second, "/readyz/shared", "/readyz/threshold")
		assert.Equal(t, "200 ok, degraded: optional\n", answerTo(r.Handler(), "/readyz/optional"))

		time.Sleep(forLong)
		synctest.Wait()
		assert.Equal(t, hung, goroutines())
		assert.EqualValues(t, hung-1, calls.Load(), "each once")
		instant("probes", func() {
			for range 1000 {
				for _, path := range []string{"/livez", "/readyz", "/startupz", "/servingz", "/readyz/critical", "/readyz?verbose", "/livez?format=json&verbose", "/"} {
					request(r.Handler(), http.MethodGet, path)
				}
			}
		})
		instant("registration", func() {
			r.ready("late", pass)
			assert.Error(t, r.AddReadiness(probes.Check{Name: "critical", Func: pass}))
		})
		assert.Equal(t, okBody, func() string { synctest.Wait(); return answerTo(r.Handler(), "/readyz/late") }(), "it is run")
		instant("all else", func() {
			r.Maintain("", 0)
			r.EndMaintenance()
			r.History()
			r.Panics()
			r.Status()
		})
		instant("Shutdown", r.Shutdown)
		instant("AcceptWindowClosed", r.AcceptWindowClosed)
		assert.Zero(t, r.end())
		synctest.Wait()
		assert.Equal(t, hung, goroutines())
		close(release)
		<-lock
		go func() { lock <- struct{}{} }() // for Unlock
		synctest.Wait()
		assert.Zero(t, goroutines())
	})
}

func TestHangCostsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("cache", pass)
		r.run()
		require.Zero(t, goroutines())
		release := make(chan struct{})
		var calls atomic.Int32
		r.ready("db", func(context.Context) error { calls.Add(1); <-release; return nil })
		time.Sleep(probes.DefaultTimeout)
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		time.Sleep(forLong)
		synctest.Wait()
		assert.Equal(t, 1, goroutines())
		assert.EqualValues(t, 1, calls.Load())
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		assert.Equal(t, okBody, r.live())
		r.ready("late", pass)
		assert.Equal(t, "503 not ready: db\n", r.readyz(), "nor does it keep others from being added and run")

		assert.Zero(t, r.end(), "nor Run from returning")
		close(release)
	})
}

func TestHangThenRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.ready("db", func(context.Context) error { <-release; return nil })
		r.run()
		time.Sleep(forLong)
		close(release)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=1s error=\"timed out after 1s\"\n"+
			"level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=0s\n", r.log())
		r.end()
	})
}

func TestRunWaitsForChecksThatReturn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		takes   time.Duration // after its context has ended
		want    time.Duration
	}{
		{"at once", forLong, 0, 0},
		{"soon", forLong, 700 * time.Millisecond, 700 * time.Millisecond},
		{"past its timeout", 400 * time.Millisecond, forLong, 400 * time.Millisecond},
		{"too late", forLong, forLong, probes.DefaultTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Timeout: tt.timeout, Func: func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(tt.takes)
					return ctx.Err()
				}}))
				r.run()
				assert.Equal(t, tt.want, r.end())
				assert.Empty(t, r.log(), "being told to stop is not a failure")
				time.Sleep(tt.takes)
			})
		})
	}

	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := new(probes.Registry)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error {
			t.Error("called")
			return nil
		}}))
		assert.NoError(t, r.Run(ctx))
	})
}

// answerTo returns an answer's status and body.
func answerTo(h http.Handler, target string) string {
	w := request(h, http.MethodGet, target)
	return fmt.Sprintf("%d %s", w.Code, w.Body)
}
