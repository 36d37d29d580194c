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

// answerTo returns an answer's status and body.
func answerTo(h http.Handler, target string) string {
	w := request(h, http.MethodGet, target)
	return fmt.Sprintf("%d %s", w.Code, w.Body)
}
