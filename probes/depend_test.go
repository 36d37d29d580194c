// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A service is what a check asks: it can be down, and counts how often it is
// asked.
type service struct {
	down  atomic.Bool
	takes time.Duration
	calls atomic.Int32
}

func (s *service) check(name string, dependsOn ...string) probes.Check {
	return probes.Check{Name: name, DependsOn: dependsOn, Jitter: -1, Func: func(context.Context) error {
		s.calls.Add(1)
		time.Sleep(s.takes)
		if s.down.Load() {
			return errDown
		}
		return nil
	}}
}

func TestRootCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders, users service
		db.down.Store(true)
		require.NoError(t, r.AddReadiness(orders.check("orders", "db"), users.check("users", "db"), db.check("db")))
		assert.Equal(t, "503 not ready: db, orders, users\n", r.readyz(), "not run yet")
		r.run()
		assert.Equal(t, "503 not ready: db; skipped: orders, users\n", r.readyz())
		assert.EqualValues(t, 1, db.calls.Load())
		time.Sleep(forLong)
		assert.Greater(t, db.calls.Load(), int32(700))
		assert.Zero(t, orders.calls.Load()+users.calls.Load(), "not called at all")
		assert.Equal(t, "503 not ready: db; skipped: orders, users\n", r.readyz())

		db.down.Store(false)
		orders.down.Store(true)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "503 not ready: orders\n", r.readyz(), "called as soon as there is a chance")
		assert.EqualValues(t, 1, users.calls.Load())
		assert.Equal(t, strings.Join([]string{
			`level=WARN msg="probes: check is failing" check=db probe=readiness took=0s error="connection refused (password=hunter2)"`,
			`level=INFO msg="probes: check is skipped" check=orders probe=readiness cause=db`,
			`level=INFO msg="probes: check is skipped" check=users probe=readiness cause=db`,
			`level=INFO msg="probes: check has recovered" check=db probe=readiness took=0s`,
		}, "\n"), strings.Join(strings.Split(r.log(), "\n")[:4], "\n"))
		r.end()
	})
}

// The dependants are as old as what they depend on; without waiting for it they
// would find out by themselves, at the same moment.
func TestDependantsWaitForAFreshResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db, orders := service{takes: 500 * time.Millisecond}, service{}
		require.NoError(t, r.AddReadiness(db.check("db"), orders.check("orders", "db")))
		r.run()
		time.Sleep(time.Second)
		require.Equal(t, okBody, r.readyz())
		for range 10 {
			calls := orders.calls.Load()
			require.Equal(t, db.calls.Load(), calls)
			time.Sleep(probes.DefaultInterval + 500*time.Millisecond)
			assert.Equal(t, okBody, r.readyz())
		}
		db.down.Store(true)
		orders.down.Store(true)
		calls := orders.calls.Load()
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		assert.Equal(t, calls, orders.calls.Load())
		assert.NotContains(t, r.log(), `failing" check=orders`)
		r.end()
	})
}

func TestDependantsOfAHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		var web service
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "db", Func: func(context.Context) error { <-release; return nil }},
			probes.Check{Name: "orders", DependsOn: []string{"db", "db"}, Func: pass},
			web.check("web", "orders"),
		))
		r.run()
		assert.Equal(t, "503 not ready: db, orders, web\n", r.readyz())
		time.Sleep(probes.DefaultTimeout)
		assert.Equal(t, "503 not ready: db; skipped: orders, web\n", r.readyz())
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: db; skipped: orders, web\n", r.readyz())
		assert.Equal(t, 1, goroutines())
		assert.Zero(t, web.calls.Load())
		close(release)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

func TestResultOfARunDuringWhichADependencyFailedDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db, orders := service{}, service{takes: 600 * time.Millisecond}
		cdb := db.check("db")
		cdb.Interval = 250 * time.Millisecond
		require.NoError(t, r.AddReadiness(cdb, orders.check("orders", "db")))
		r.run()
		db.down.Store(true)
		time.Sleep(250 * time.Millisecond) // while orders is asked
		assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		db.down.Store(false)
		time.Sleep(250 * time.Millisecond)
		assert.Equal(t, "503 not ready: orders\n", r.readyz())
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, "503 not ready: orders\n", r.readyz(), "the first run is over, and counts for nothing")
		time.Sleep(600 * time.Millisecond)
		assert.Equal(t, okBody, r.readyz())
		assert.EqualValues(t, 2, orders.calls.Load())

		// And one that is over before the dependency is back.
		time.Sleep(probes.DefaultInterval - 100*time.Millisecond)
		for calls := orders.calls.Load(); orders.calls.Load() == calls; {
			time.Sleep(10 * time.Millisecond)
		}
		db.down.Store(true)
		time.Sleep(300 * time.Millisecond)
		assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		time.Sleep(time.Second)
		assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		r.end()
	})
}

func TestRunThatHangsThroughAFailureOfItsDependency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		cdb := db.check("db")
		cdb.Interval = 250 * time.Millisecond
		release := make(chan struct{})
		require.NoError(t, r.AddReadiness(cdb,
			probes.Check{Name: "orders", DependsOn: []string{"db"}, Func: func(context.Context) error { <-release; return nil }}))
		r.run()
		db.down.Store(true)
		time.Sleep(250 * time.Millisecond)
		require.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		db.down.Store(false)
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: orders\n", r.readyz())
		assert.Contains(t, r.log(), `check is failing" check=orders probe=readiness took=2.5s error="timed out after 1s"`)
		assert.Equal(t, 1, goroutines())
		close(release)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

func TestDependantsWaitUntilAThresholdHasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders service
		cdb := db.check("db")
		cdb.FailureThreshold = 3
		corders := orders.check("orders", "db")
		corders.Interval = time.Second
		require.NoError(t, r.AddReadiness(cdb, corders))
		r.run()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		db.down.Store(true)
		orders.down.Store(true)
		time.Sleep(time.Second) // the first failure
		synctest.Wait()
		calls := orders.calls.Load()
		time.Sleep(10*time.Second - 1)
		assert.Equal(t, okBody, r.readyz(), "and their results last as long")
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
		assert.Equal(t, calls, orders.calls.Load())
		r.end()
	})
}

func TestBadDependencies(t *testing.T) {
	check := func(name string, dependsOn ...string) probes.Check {
		return probes.Check{Name: name, DependsOn: dependsOn, Func: pass}
	}
	var r probes.Registry
	require.NoError(t, r.AddReadiness(check("db")))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{r.AddReadiness(check("a", "b"), check("b", "c"), check("c", "db", "a")), "probes: invalid check: dependency cycle: a -> b -> c -> a"},
		{r.AddReadiness(check("a", "a")), "probes: invalid check: dependency cycle: a -> a"},
		{r.AddReadiness(check("a", "db", "dbb")), `probes: invalid check: "a" depends on "dbb", which does not exist`},
		{r.AddReadiness(check("a"), check("a")), `probes: invalid check: there is a readiness check "a" already`},
		{r.AddReadiness(check("b"), check("db")), `probes: invalid check: there is a readiness check "db" already`},
	} {
		assert.ErrorIs(t, tt.err, probes.ErrInvalid)
		assert.EqualError(t, tt.err, tt.want)
	}
	require.NoError(t, r.AddLiveness("own", func() error { return nil }))
	assert.EqualError(t, r.AddReadiness(check("a", "own")), `probes: invalid check: "a" depends on "own", which does not exist`)
	require.NoError(t, r.AddReadiness(), "none")
	r.Started()
	assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "all or none of them are added")
}

func TestOptionalIsNeverRed(t *testing.T) {
	for name, f := range map[string]func(context.Context) error{
		"error":   fail,
		"panic":   func(context.Context) error { panic("odd") },
		"timeout": func(ctx context.Context) error { <-ctx.Done(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				require.NoError(t, r.AddReadiness(
					probes.Check{Name: "cache", Func: f, Optional: true},
					probes.Check{Name: "skipped", Func: pass, Optional: true, DependsOn: []string{"cache"}},
				))
				const want = "200 ok, degraded: cache, skipped\n"
				assert.Equal(t, want, r.readyz(), "not run yet")
				r.run()
				for range 100 {
					assert.Equal(t, want, r.readyz())
					time.Sleep(probes.DefaultInterval / 7)
				}
				assert.True(t, r.Status().Ready)
				assert.Equal(t, "ok, degraded: cache, skipped", r.Status().Reason)
				assert.Contains(t, r.log(), "importance=optional")
				r.end()
				time.Sleep(forLong)
				assert.Equal(t, want, r.readyz(), "too old")
			})
		})
	}

	t.Run("but a critical check cannot do without", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: "cache", Func: fail, Optional: true},
				probes.Check{Name: "orders", Func: pass, DependsOn: []string{"cache"}},
			))
			r.run()
			assert.Equal(t, "503 not ready: cache; skipped: orders\n", r.readyz())
			r.end()
		})
	})
}

func TestSharedIsTolerated(t *testing.T) {
	shared := func(db *service, share float64) probes.Check {
		c := db.check("db")
		c.Interval, c.Tolerate, c.TolerateShare = time.Second, time.Minute, share
		return c
	}

	t.Run("for a time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db, orders service
			require.NoError(t, r.AddReadiness(shared(&db, 0), orders.check("orders", "db")))
			r.run()
			for range 3 {
				db.down.Store(false)
				time.Sleep(time.Second)
				require.Equal(t, okBody, r.readyz())
				db.down.Store(true)
				time.Sleep(time.Second)
				for range 60 {
					assert.Equal(t, "200 ok, degraded: db, orders\n", r.readyz(), "dependants, too")
					time.Sleep(time.Second)
				}
				assert.Equal(t, "503 not ready: db; skipped: orders\n", get(r.ReadyHandler()))
			}
			r.end()
		})
	})

	t.Run("but not what depends on something else, too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db, orders service
			require.NoError(t, r.AddReadiness(shared(&db, 0),
				probes.Check{Name: "cache", Optional: true, Func: fail}, orders.check("orders", "db")))
			r.run()
			db.down.Store(true)
			time.Sleep(time.Second)
			assert.Equal(t, "200 ok, degraded: cache, db, orders\n", r.readyz())
			require.NoError(t, r.AddReadiness(probes.Check{Name: "users", DependsOn: []string{"db", "cache"}, Func: pass}))
			assert.Equal(t, "503 not ready: cache, db; skipped: users\n", r.readyz())
			r.end()
		})
	})

	t.Run("but not before it has passed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db service
			db.down.Store(true)
			require.NoError(t, r.AddReadiness(shared(&db, 0)))
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			r.run()
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			r.end()
		})
	})

	t.Run("when its result is too old", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db service
			require.NoError(t, r.AddReadiness(shared(&db, 0)))
			r.run()
			r.end()
			time.Sleep(2*time.Second - 1)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "200 ok, degraded: db\n", r.readyz())
			time.Sleep(time.Minute - 1)
			assert.Equal(t, "200 ok, degraded: db\n", r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
		})
	})

	t.Run("for a share of the time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db service
			require.NoError(t, r.AddReadiness(shared(&db, 0.25)))
			r.run()
			db.down.Store(true)
			time.Sleep(40 * time.Second) // fails from the first second to the 41st
			require.Equal(t, "200 ok, degraded: db\n", r.readyz())
			db.down.Store(false)
			time.Sleep(40 * time.Second) // 10 of the 40 come back, so there are 30
			require.Equal(t, okBody, r.readyz())
			db.down.Store(true)
			time.Sleep(time.Second)
			require.Equal(t, "200 ok, degraded: db\n", r.readyz())
			time.Sleep(30*time.Second - 1)
			assert.Equal(t, "200 ok, degraded: db\n", get(r.ReadyHandler()))
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
			db.down.Store(false)
			time.Sleep(forLong)
			synctest.Wait()
			db.down.Store(true)
			time.Sleep(60 * time.Second)
			assert.Equal(t, "200 ok, degraded: db\n", get(r.ReadyHandler()), "and no more than all of it")
			time.Sleep(time.Second)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
			r.end()
		})
	})
}

// What depends on a shared check is not worse off when that is back than it was
// before, until it has been asked itself.
func TestRecoveryOfWhatIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		db, orders, web := service{}, service{takes: 500 * time.Millisecond}, service{takes: 300 * time.Millisecond}
		c := db.check("db")
		c.Interval, c.Tolerate = time.Second, time.Minute
		require.NoError(t, r.AddReadiness(c, orders.check("orders", "db"), web.check("web", "orders")))
		r.run()
		time.Sleep(3 * time.Second)
		require.Equal(t, okBody, r.readyz())
		db.down.Store(true)
		time.Sleep(5 * time.Second)
		require.Equal(t, "200 ok, degraded: db, orders, web\n", r.readyz())

		end := watch(r.Registry)
		db.down.Store(false)
		time.Sleep(time.Second + 500*time.Millisecond - 1)
		assert.Equal(t, "200 ok, degraded: orders, web\n", r.readyz())
		time.Sleep(300*time.Millisecond + 1)
		assert.Equal(t, okBody, r.readyz())
		for _, s := range end() {
			assert.True(t, s.Ready, "%v: %s", s.after, s.Reason)
		}

		// What it finds itself is not tolerated.
		db.down.Store(true)
		time.Sleep(2 * time.Second)
		require.Equal(t, "200 ok, degraded: db, orders, web\n", r.readyz())
		db.down.Store(false)
		orders.down.Store(true)
		time.Sleep(2 * time.Second)
		assert.Equal(t, "503 not ready: orders; skipped: web\n", r.readyz())
		r.end()
	})
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		c := db.check("db")
		c.FailureThreshold, c.SuccessThreshold = 3, 2
		c.Interval, c.FailingInterval = 10*time.Second, time.Second
		require.NoError(t, r.AddReadiness(c))
		r.run()
		require.Equal(t, okBody, r.readyz(), "the first result counts for itself")
		db.down.Store(true)
		time.Sleep(10 * time.Second) // 1
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Second) // 2, at the own interval
		assert.Equal(t, okBody, r.readyz())
		db.down.Store(false)
		time.Sleep(time.Second) // a success resets the count
		assert.Equal(t, okBody, r.readyz())
		assert.Empty(t, r.log())
		db.down.Store(true)
		time.Sleep(12*time.Second - 1)
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not ready: db\n", r.readyz(), "3 in a row")
		db.down.Store(false)
		time.Sleep(2*time.Second - 1)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, okBody, r.readyz(), "2 in a row")
		assert.EqualValues(t, 9, db.calls.Load())
		assert.Equal(t, 2, strings.Count(r.log(), "\n"))
		r.end()
	})

	t.Run("while a run hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			release, calls := make(chan struct{}), 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 3, Jitter: -1, Func: func(context.Context) error {
				if calls++; calls == 2 {
					<-release
				}
				return nil
			}}))
			r.run()
			const hangs = probes.DefaultInterval + probes.DefaultTimeout // of the second run
			time.Sleep(hangs + 2*(probes.DefaultInterval+probes.DefaultTimeout) - 1)
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "each interval counts")
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=13s error=\"timed out after 1s\"\n", r.log())
			close(release)
			r.end()
		})
	})

	t.Run("a run that is late counts once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			calls := 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 2, Jitter: -1, Func: func(context.Context) error {
				if calls++; calls == 2 {
					time.Sleep(probes.DefaultTimeout + time.Second)
				}
				return nil
			}}))
			r.run()
			for range 20 {
				time.Sleep(time.Second)
				assert.Equal(t, okBody, r.readyz())
			}
			assert.Equal(t, 4, calls)
			r.end()
		})
	})

	t.Run("when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 2, Jitter: -1, Func: pass}))
			r.run()
			r.end()
			time.Sleep(2*(probes.DefaultInterval+probes.DefaultTimeout) - 1)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
		})
	})
}

func TestInitiallyPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		db.down.Store(true)
		c := db.check("db")
		c.InitiallyPassing = true
		require.NoError(t, r.AddReadiness(c))
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(probes.DefaultInterval + probes.DefaultTimeout - 1)
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not ready: db\n", r.readyz(), "nobody has run it")
		r.run()
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		r.end()
	})
}

func TestInitiallyPassingAndHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", InitiallyPassing: true, Func: func(context.Context) error {
			time.Sleep(forLong)
			return nil
		}}))
		r.run()
		time.Sleep(probes.DefaultTimeout / 2)
		r.stop() // so that only its age counts
		time.Sleep(probes.DefaultTimeout/2 - 1)
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		r.end()
		time.Sleep(forLong)
	})

	t.Run("for as long as a dependency may take", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: "db", Optional: true, Timeout: 20 * time.Second, Func: func(ctx context.Context) error { <-ctx.Done(); return nil }},
				probes.Check{Name: "orders", InitiallyPassing: true, Func: pass, DependsOn: []string{"db"}},
			))
			r.run()
			time.Sleep(20*time.Second - 1)
			assert.Equal(t, "200 ok, degraded: db\n", r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
			r.end()
		})
	})
}

func TestBadChecks(t *testing.T) {
	r := new(probes.Registry)
	for want, c := range map[string]probes.Check{
		`has the negative failing interval -1s`:             {FailingInterval: -time.Second},
		`has the negative time to live -1s`:                 {TTL: -time.Second},
		`has the negative failure threshold -1`:             {FailureThreshold: -1},
		`has the negative success threshold -2`:             {SuccessThreshold: -2},
		`tolerates the negative time -1s`:                   {Tolerate: -time.Second},
		`tolerates the share 1`:                             {Tolerate: time.Second, TolerateShare: 1},
		`tolerates the share -0.5`:                          {Tolerate: time.Second, TolerateShare: -0.5},
		`tolerates the share NaN`:                           {Tolerate: time.Second, TolerateShare: math.NaN()},
		`tolerates a share, and no time`:                    {TolerateShare: 0.5},
		`is optional and shared at once`:                    {Optional: true, Tolerate: time.Second},
		`has characters in its name that cannot be printed`: {Name: "a\nb"},
	} {
		if c.Name == "" {
			c.Name = "x"
		}
		c.Func = pass
		err := r.AddReadiness(c)
		assert.ErrorIs(t, err, probes.ErrInvalid)
		assert.EqualError(t, err, fmt.Sprintf("probes: invalid check: readiness check %q %s", c.Name, want))
	}
}

func TestHugeSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		huge := probes.Check{
			Timeout: math.MaxInt64, Interval: math.MaxInt64, FailingInterval: math.MaxInt64, Jitter: math.MaxInt64,
			FailureThreshold: math.MaxInt, SuccessThreshold: math.MaxInt, Tolerate: math.MaxInt64, Func: pass, InitiallyPassing: true,
		}
		for i := range 20 {
			huge.Name = strconv.Itoa(i)
			require.NoError(t, r.AddReadiness(huge))
			huge.DependsOn = []string{huge.Name}
		}
		assert.Equal(t, okBody, r.readyz())
		r.run()
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(1000 * forLong)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

// Whatever fails, readiness names those that fail by themselves, and skips what
// depends on them.
func TestRandomGraphs(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			const n = 40
			services := make([]service, n)
			deps := make([][]string, n)
			var checks []probes.Check
			for i := range n {
				for j := range i {
					if rng.IntN(6) == 0 {
						deps[i] = append(deps[i], strconv.Itoa(j))
					}
				}
				services[i].takes = time.Duration(rng.IntN(900)) * time.Millisecond
				checks = append(checks, services[i].check(strconv.Itoa(i), deps[i]...))
			}
			rng.Shuffle(n, func(i, j int) { checks[i], checks[j] = checks[j], checks[i] })
			require.NoError(t, r.AddReadiness(checks...))
			r.run()
			for range 10 {
				for i := range services {
					services[i].down.Store(rng.IntN(10) == 0)
				}
				time.Sleep(time.Minute)
				assert.Equal(t, expected(services, deps), r.readyz(), "seed %d", seed)
			}
			r.end()
		})
	}
}

// expected is what readiness says of a graph by definition.
func expected(services []service, deps [][]string) string {
	var failing, skipped []string
	bad := make(map[string]bool)
	for i := range services { // dependencies come first
		name := strconv.Itoa(i)
		hit := false
		for _, d := range deps[i] {
			hit = hit || bad[d]
		}
		switch {
		case hit:
			skipped = append(skipped, name)
		case services[i].down.Load():
			failing = append(failing, name)
		default:
			continue
		}
		bad[name] = true
	}
	if len(failing) == 0 {
		return okBody
	}
	line := "503 not ready: " + strings.Join(sorted(failing), ", ")
	if len(skipped) > 0 {
		line += "; skipped: " + strings.Join(sorted(skipped), ", ")
	}
	return line + "\n"
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
