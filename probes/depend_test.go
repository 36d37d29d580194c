// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

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
