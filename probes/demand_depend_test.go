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

func TestDemandAlongTheGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders, web service
		require.NoError(t, r.AddReadiness(
			db.onDemand("db", time.Second),
			orders.onDemand("orders", time.Minute, "db"),
			web.check("web", "orders"), // in the background
		))
		r.run()
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		time.Sleep(time.Minute + time.Second)
		assert.EqualValues(t, 2, orders.calls.Load(), "for web, a minute after the first time")
		calls := db.calls.Load()
		assert.Equal(t, okBody, get(r.ReadyHandler()))
		assert.Equal(t, calls+1, db.calls.Load())

		db.down.Store(true)
		time.Sleep(time.Second)
		asked := orders.calls.Load()
		t0 := time.Now()
		assert.Equal(t, "503 not ready: db; skipped: orders, web\n", get(r.ReadyHandler()))
		assert.Zero(t, time.Since(t0))
		assert.Equal(t, asked, orders.calls.Load())
		db.down.Store(false)
		time.Sleep(time.Second)
		get(r.ReadyHandler()) // asks db, and then orders
		assert.Equal(t, asked+1, orders.calls.Load())
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

// A probe has asked once. When the dependency is back the result is renewed
// without another one, or else the loop would be told red a minute later.
func TestRecoveryOfWhatACheckOnDemandDependsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders service
		c := db.check("db")
		c.Interval, c.Tolerate = time.Second, time.Minute
		require.NoError(t, r.AddReadiness(c, orders.onDemand("orders", 10*time.Second, "db")))
		r.run()
		assert.Equal(t, okBody, r.readyz())
		end := watch(r.Registry)
		db.down.Store(true)
		time.Sleep(5 * time.Second)
		db.down.Store(false)
		time.Sleep(5 * time.Minute)
		for _, s := range end() {
			assert.True(t, s.Ready, "%v: %s", s.after, s.Reason)
		}
		assert.EqualValues(t, 2, orders.calls.Load())
		r.end()
	})
}

func TestDependantsOfACheckOnDemandThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders service
		c := db.onDemand("db", time.Minute)
		c.FailureThreshold = 3
		require.NoError(t, r.AddReadiness(c, orders.check("orders", "db")))
		r.run()
		time.Sleep(time.Second)
		require.EqualValues(t, 1, db.calls.Load(), "orders has asked")
		require.True(t, r.Status().Ready)

		// One failure of three decides nothing, and is decided without a probe.
		db.down.Store(true)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, db.calls.Load())
		end := watch(r.Registry)
		db.down.Store(false)
		time.Sleep(10 * time.Minute)
		for _, s := range end() {
			assert.True(t, s.Ready, "%v: %s", s.after, s.Reason)
		}
		assert.Empty(t, r.log())

		// Neither is it without one when it has failed and is back.
		db.down.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Equal(t, "not ready: db; skipped: orders", r.Status().Reason)
		db.down.Store(false)
		time.Sleep(probes.DefaultInterval)
		synctest.Wait()
		assert.True(t, r.Status().Ready, r.Status().Reason)
		r.end()
	})
}

// Nothing runs at an interval here, so only the probe that has demanded orders
// can have db decided.
func TestDemandThatWaitsForAThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders service
		c := db.onDemand("db", time.Minute)
		c.FailureThreshold = 2
		require.NoError(t, r.AddReadiness(c, orders.onDemand("orders", time.Second, "db")))
		r.run()
		require.Equal(t, okBody, r.readyz())
		time.Sleep(time.Minute)
		db.down.Store(true)
		require.Equal(t, okBody, r.readyz(), "one failure of two")
		require.EqualValues(t, 2, db.calls.Load())
		db.down.Store(false)
		calls := orders.calls.Load()
		time.Sleep(forLong)
		assert.True(t, r.Status().Ready, r.Status().Reason)
		assert.Equal(t, calls+1, orders.calls.Load(), "as soon as db was decided")
		assert.EqualValues(t, 3, db.calls.Load(), "and nobody asks since")
		r.end()
	})
}

// There are 2^59 paths from the last check to the first ones.
func TestDemandOfOneCheckInADeepGraph(t *testing.T) {
	var r probes.Registry
	r.Started()
	require.NoError(t, r.AddReadiness(probes.Check{Name: "other", TTL: time.Second, Func: pass}))
	var before []string
	for i := range 60 {
		layer := []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}
		for _, name := range layer {
			require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: pass, DependsOn: before}))
		}
		before = layer
	}
	answered := make(chan int, 1)
	go func() { answered <- request(r.ReadyHandler(), http.MethodGet, "/readyz/a59").Code }()
	select {
	case code := <-answered:
		assert.Equal(t, http.StatusServiceUnavailable, code)
	case <-time.After(time.Minute):
		require.Fail(t, "no answer")
	}
}

// Who depends on what has recovered is run again when its run from before is over,
// as it would be at once if that were: nobody need ask.
func TestRecoveryWhileADependantOnDemandStillRuns(t *testing.T) {
	for name, takes := range map[string]time.Duration{"soon": 400 * time.Millisecond, "late": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var db service
				cdb := db.check("db")
				cdb.Interval = 100 * time.Millisecond
				var calls atomic.Int32
				require.NoError(t, r.AddReadiness(cdb, probes.Check{Name: "orders", TTL: 10 * forLong, DependsOn: []string{"db"}, Func: func(context.Context) error {
					if calls.Add(1) == 1 {
						time.Sleep(takes)
					}
					return nil
				}}))
				r.run()
				t0 := time.Now()
				time.AfterFunc(50*time.Millisecond, func() { db.down.Store(true) })
				assert.Equal(t, "503 not ready: db; skipped: orders\n", get(r.ReadyHandler()))
				assert.Equal(t, 100*time.Millisecond, time.Since(t0))
				db.down.Store(false)
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				assert.Equal(t, "not ready: orders", r.Status().Reason)
				if name == "late" {
					verbose := func() string {
						return request(r.Handler(), http.MethodGet, "/readyz/orders?verbose").Body.String()
					}
					time.Sleep(cdb.Timeout + 3*time.Second)
					assert.Equal(t, "not ready: orders\n[-]orders failed: timed out after 1s\n", verbose())
					assert.Equal(t, 1, goroutines())
					t0 := time.Now()
					assert.Equal(t, "503 not ready: orders\n", get(r.ReadyHandler()))
					assert.Zero(t, time.Since(t0), "at once")
				}
				assert.EqualValues(t, 1, calls.Load())
				time.Sleep(time.Until(t0.Add(takes)))
				synctest.Wait()
				assert.EqualValues(t, 2, calls.Load(), "at that moment, and unasked")
				assert.True(t, r.Status().Ready)
				time.Sleep(time.Minute)
				assert.EqualValues(t, 2, calls.Load())
				r.end()
			})
		})
	}

	t.Run("a probe waits for the next run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db service
			cdb := db.check("db")
			cdb.Interval = 100 * time.Millisecond
			orders := service{takes: 400 * time.Millisecond}
			require.NoError(t, r.AddReadiness(cdb, orders.onDemand("orders", forLong, "db")))
			r.run()
			t0 := time.Now()
			time.AfterFunc(50*time.Millisecond, func() { db.down.Store(true) })
			get(r.ReadyHandler())
			db.down.Store(false)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			assert.Equal(t, 800*time.Millisecond, time.Since(t0), "two runs, one after the other")
			assert.EqualValues(t, 2, orders.calls.Load())
			r.end()
		})
	})

	t.Run("though it never began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			db := service{takes: 100 * time.Millisecond}
			db.down.Store(true)
			var orders service
			require.NoError(t, r.AddReadiness(db.check("db"), orders.onDemand("orders", forLong, "db")))
			r.run()
			assert.Equal(t, "503 not ready: db; skipped: orders\n", get(r.ReadyHandler()))
			db.down.Store(false)
			time.Sleep(probes.DefaultInterval + db.takes)
			synctest.Wait()
			assert.True(t, r.Status().Ready, "it was asked for")
			r.end()
		})
	})
}

// Until a threshold has decided about what hangs, what depends on it is not run:
// neither is a probe to wait for that.
func TestDemandBehindAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var hangs atomic.Bool
		release := make(chan struct{})
		var mid, orders service
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "db", Jitter: -1, FailureThreshold: 3, Func: func(context.Context) error {
				if hangs.Load() {
					<-release
				}
				return nil
			}},
			mid.onDemand("mid", time.Second, "db"),
			orders.onDemand("orders", time.Second, "mid"),
		))
		r.run()
		require.Equal(t, okBody, r.readyz())
		hangs.Store(true)
		time.Sleep(probes.DefaultInterval + probes.DefaultTimeout) // db is late once
		began := time.Now()
		for range 100 {
			require.Equal(t, okBody, r.readyz())
		}
		assert.Zero(t, time.Since(began))
		calls := orders.calls.Load()
		close(release)
		hangs.Store(false)
		time.Sleep(probes.DefaultInterval)
		require.Equal(t, okBody, r.readyz())
		assert.Equal(t, calls+1, orders.calls.Load(), "as soon as db is back")
		time.Sleep(time.Minute)
		require.Equal(t, okBody, r.readyz())
		assert.Equal(t, calls+2, orders.calls.Load(), "and probes wait again")
		r.end()
	})
}

// The clock is the real one: it goes on between the end of one run and the start of
// the next.
func TestDemandOfADependencyThatIsOldAtOnce(t *testing.T) {
	r := newRig(t)
	var db, orders service
	require.NoError(t, r.AddReadiness(db.onDemand("db", 1), orders.onDemand("orders", 1, "db")))
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	require.NoError(t, r.AddReadiness(probes.Check{Name: "runs", Func: func(context.Context) error {
		close(running)
		return nil
	}, Interval: time.Hour}))
	go func() { r.ran <- r.Run(ctx) }()
	<-running
	require.Eventually(t, func() bool { return get(r.ReadyHandler()) == okBody }, time.Minute, time.Millisecond)
	first := orders.calls.Load()
	require.Equal(t, first, db.calls.Load())
	for range 20 {
		require.Equal(t, okBody, get(r.ReadyHandler()))
	}
	cancel()
	require.NoError(t, <-r.ran)
	assert.Equal(t, first+20, orders.calls.Load())
	assert.Equal(t, first+20, db.calls.Load(), "once for a probe")
}
