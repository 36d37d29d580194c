// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestOneRunForAThousandProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db := service{takes: 50 * time.Millisecond}
		require.NoError(t, r.AddReadiness(db.onDemand("db", time.Second)))
		r.run()
		time.Sleep(forLong)
		assert.Zero(t, db.calls.Load(), "nobody has asked")
		for round := range int32(3) {
			var wg sync.WaitGroup
			t0 := time.Now()
			for i := range 1000 {
				wg.Go(func() {
					time.Sleep(db.takes * time.Duration(i) / 2000 * time.Duration((round+1)%2)) // into the run, or at one instant
					assert.Equal(t, okBody, get(r.ReadyHandler()))
					assert.Equal(t, db.takes, time.Since(t0))
				})
			}
			wg.Wait()
			assert.Equal(t, round+1, db.calls.Load())
			time.Sleep(time.Second - 1)
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			assert.Equal(t, round+1, db.calls.Load(), "it is still fresh")
			time.Sleep(time.Nanosecond)
		}
		assert.Empty(t, r.log())
		r.end()
	})
}

func TestDemandThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		var calls atomic.Int32
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", TTL: time.Second, Func: func(context.Context) error {
			calls.Add(1)
			<-release
			return nil
		}}))
		r.run()
		t0 := time.Now()
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		assert.Equal(t, 800*time.Millisecond, time.Since(t0), "before the kubelet gives up")
		time.Sleep(200 * time.Millisecond)
		t0 = time.Now()
		for range 1000 {
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		}
		assert.Zero(t, time.Since(t0), "at once, now that it is failing")
		time.Sleep(forLong)
		assert.EqualValues(t, 1, calls.Load())
		assert.Equal(t, 1, goroutines())
		close(release)
		synctest.Wait()
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "what it returned came too late")
		time.Sleep(time.Second)
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		r.end()
	})
}

func TestDemandOfAProbeThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var cancelled atomic.Bool
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", TTL: time.Second, Func: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				cancelled.Store(true)
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				return nil
			}
		}}))
		r.run()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		t0 := time.Now()
		w := httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
		assert.Equal(t, 10*time.Millisecond, time.Since(t0))
		assert.Equal(t, okBody, get(r.ReadyHandler()), "the run went on")
		assert.Equal(t, 100*time.Millisecond, time.Since(t0))
		assert.False(t, cancelled.Load())
		r.end()
	})
}

func TestDemandWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		require.NoError(t, r.AddReadiness(db.onDemand("db", time.Second)))
		t0 := time.Now()
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		assert.Zero(t, time.Since(t0), "nobody to wait for")
		r.run()
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		r.end()
		time.Sleep(forLong)
		assert.True(t, r.Status().Ready, "nobody has asked since")
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		time.Sleep(probes.DefaultTimeout)
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "asked, and nobody has answered")
		assert.False(t, r.Status().Ready)
	})
}

func TestDemandOfOneCheckWaitsForNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db, orders, slow := service{}, service{takes: 10 * time.Millisecond}, service{takes: 500 * time.Millisecond}
		require.NoError(t, r.AddReadiness(
			db.onDemand("db", time.Minute), orders.onDemand("orders", time.Minute, "db"), slow.onDemand("slow", time.Minute)))
		r.run()
		t0 := time.Now()
		assert.Equal(t, "ok\n", request(r.ReadyHandler(), http.MethodGet, "/readyz/orders").Body.String())
		assert.Equal(t, 10*time.Millisecond, time.Since(t0))
		assert.Equal(t, "no such check\n", request(r.ReadyHandler(), http.MethodGet, "/readyz/x").Body.String())
		assert.Equal(t, []int32{1, 1, 0}, []int32{db.calls.Load(), orders.calls.Load(), slow.calls.Load()})
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		assert.Equal(t, 510*time.Millisecond, time.Since(t0))
		r.end()
	})
}

func TestDemandWithTheShortestTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		require.NoError(t, r.AddReadiness(db.onDemand("db", 1)))
		r.run()
		for i := range int32(10) {
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			assert.Equal(t, i+1, db.calls.Load())
			time.Sleep(time.Nanosecond)
		}
		slow := service{takes: 10 * time.Millisecond}
		require.NoError(t, r.AddReadiness(slow.onDemand("slow", 1)))
		calls := db.calls.Load()
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		assert.Equal(t, calls+1, db.calls.Load(), "once for a probe, though it is old by the time of the answer")
		r.end()
	})
}

func TestDemandThatShutdownOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db := service{takes: 500 * time.Millisecond}
		require.NoError(t, r.AddReadiness(db.onDemand("db", time.Second)))
		r.run()
		time.AfterFunc(100*time.Millisecond, r.Shutdown)
		t0 := time.Now()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
		assert.Equal(t, 100*time.Millisecond, time.Since(t0))
		r.end()
	})
}

func TestExcludedCheckOnDemandIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db, slow := service{}, service{takes: 500 * time.Millisecond}
		require.NoError(t, r.AddReadiness(db.onDemand("db", time.Minute), slow.onDemand("slow", time.Minute)))
		r.run()
		t0 := time.Now()
		assert.Equal(t, "ok\nexcluded: slow\n", request(r.ReadyHandler(), http.MethodGet, "/readyz?exclude=slow").Body.String())
		assert.Zero(t, time.Since(t0))
		synctest.Wait()
		assert.Equal(t, []int32{1, 0}, []int32{db.calls.Load(), slow.calls.Load()})
		r.end()
	})
}

// A probe waits no longer than there is something to wait for.
func TestDemandIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", TTL: time.Second, Timeout: 100 * time.Millisecond,
			Func: func(context.Context) error { <-release; return nil }}))
		r.run()
		t0 := time.Now()
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		assert.Equal(t, 100*time.Millisecond, time.Since(t0))
		close(release)
		synctest.Wait()
		time.Sleep(time.Second)
		assert.Equal(t, okBody, get(r.ReadyHandler()), "asked again")
		r.end()
	})

	t.Run("before it has begun", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var hangs atomic.Bool
			release := make(chan struct{})
			db := probes.Check{Name: "db", FailureThreshold: 2, Interval: time.Second, Jitter: -1, Func: func(context.Context) error {
				if hangs.Load() {
					<-release
				}
				return nil
			}}
			var orders service
			require.NoError(t, r.AddReadiness(db, orders.onDemand("orders", 10*time.Second, "db")))
			r.run()
			require.Equal(t, okBody, get(r.ReadyHandler()))
			time.Sleep(9500 * time.Millisecond)
			hangs.Store(true)
			time.Sleep(time.Second) // one failure of two is about to be counted
			t0 := time.Now()
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			assert.Equal(t, 500*time.Millisecond, time.Since(t0), "until db is late")
			time.Sleep(2500 * time.Millisecond)
			assert.Equal(t, "503 not ready: db; skipped: orders\n", get(r.ReadyHandler()))
			assert.EqualValues(t, 1, orders.calls.Load())
			hangs.Store(false)
			close(release)
			time.Sleep(time.Second)
			assert.Equal(t, okBody, r.readyz())
			assert.EqualValues(t, 2, orders.calls.Load())
			r.end()
		})
	})
}

func TestDemandWhereChecksHaveNoSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rig
		r.t, r.Registry, r.ran = t, new(probes.Registry), make(chan error, 1)
		var db service
		require.NoError(t, r.AddReadiness(db.onDemand("db", time.Second)))
		r.run()
		path := func(path string) string {
			w := request(r.ReadyHandler(), http.MethodGet, path)
			return fmt.Sprintf("%d %s", w.Code, w.Body)
		}
		assert.Equal(t, starting, r.readyz())
		assert.Zero(t, db.calls.Load(), "for a plain answer nobody is asked")
		assert.Equal(t, okBody, path("/readyz/db"), "before Started")
		r.Started()
		r.Maintain("upgrade", 0)
		db.down.Store(true)
		time.Sleep(time.Hour)
		assert.Equal(t, "503 not ready: maintenance\n", r.readyz())
		assert.EqualValues(t, 1, db.calls.Load())
		assert.Equal(t, "503 not ready: db\n", path("/readyz/db"))
		db.down.Store(false)
		time.Sleep(time.Hour)
		assert.Equal(t, "503 not ready: maintenance\nmaintenance: upgrade\n[+]db ok\n", path("/readyz?verbose"))
		time.Sleep(time.Hour)
		r.Shutdown()
		assert.Equal(t, "503 not ready: shutting down\n[+]db ok\n", path("/readyz?verbose"))
		assert.EqualValues(t, 3, db.calls.Load(), "and at shutdown nobody is")
		r.end()
	})
}
