// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

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
