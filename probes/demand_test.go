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

func (s *service) onDemand(name string, ttl time.Duration, dependsOn ...string) probes.Check {
	c := s.check(name, dependsOn...)
	c.TTL = ttl
	return c
}

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
			for range 1000 {
				wg.Go(func() {
					t0 := time.Now()
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
	case <-time.After(10 * time.Second):
		require.Fail(t, "no answer")
	}
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
