// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// The state before the first result, of a check of every sort. Nothing asks here
// what is on demand.
func TestInitialStates(t *testing.T) {
	const (
		red      = "not ready: db"
		degraded = "ok, degraded: db"
	)
	for _, ttl := range []time.Duration{0, time.Minute} {
		for _, tt := range []struct {
			name  string
			check probes.Check
			want  string
		}{
			{"critical", probes.Check{}, red},
			{"critical, passing", probes.Check{InitiallyPassing: true}, ""},
			{"optional", probes.Check{Optional: true}, degraded},
			{"optional, passing", probes.Check{Optional: true, InitiallyPassing: true}, ""},
			{"shared", probes.Check{Tolerate: time.Hour}, red},
			{"shared, passing", probes.Check{Tolerate: time.Hour, InitiallyPassing: true}, ""},
			{"shared for a share, passing", probes.Check{Tolerate: time.Hour, TolerateShare: 0.5, InitiallyPassing: true}, ""},
		} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, ttl), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					tt.check.Name, tt.check.Func, tt.check.TTL = "db", pass, ttl
					require.NoError(t, r.AddReadiness(tt.check))
					assert.Equal(t, tt.want, r.Status().Reason)
					time.Sleep(probes.DefaultInterval + probes.DefaultTimeout - 1)
					assert.Equal(t, tt.want, r.Status().Reason)
					time.Sleep(time.Nanosecond)
					late := red
					if tt.check.Optional {
						late = degraded
					}
					assert.Equal(t, late, r.Status().Reason, "nobody has run it in time")
					r.run()
					assert.Equal(t, okBody, r.readyz())
					r.end()
				})
			})
		}
	}

	t.Run("liveness", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddLiveness("loop", func() error { return errDown }))
			require.NoError(t, r.AddLock("lock", make(chanLocker, 1), time.Second))
			_, err := r.AddHeartbeat("beat", 3*time.Hour)
			require.NoError(t, err)
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.live(), "that nobody has looked is not a reason to restart")
			r.run()
			assert.Equal(t, "503 not live: loop\n", r.live())
			r.end()
		})
	})
}

// A check that was skipped is, when what it depends on is back, as if it had never
// run: it has its initial state until its first result, which has to come in time.
func TestInitialStateAfterASkip(t *testing.T) {
	for _, passing := range []bool{true, false} {
		t.Run(fmt.Sprintf("passing: %v", passing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				db, orders := service{}, service{takes: 900 * time.Millisecond}
				c := orders.check("orders", "db")
				c.InitiallyPassing = passing
				cdb := db.check("db")
				cdb.Interval = time.Second
				require.NoError(t, r.AddReadiness(cdb, c))
				r.run()
				db.down.Store(true)
				time.Sleep(10 * time.Second)
				require.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
				calls := orders.calls.Load()
				db.down.Store(false)
				orders.down.Store(true)
				time.Sleep(time.Second)
				first := "503 not ready: orders\n"
				if passing {
					first = okBody
				}
				assert.Equal(t, first, r.readyz(), "it runs now")
				assert.Equal(t, calls+1, orders.calls.Load())
				time.Sleep(900*time.Millisecond - 1)
				assert.Equal(t, first, r.readyz())
				time.Sleep(time.Nanosecond)
				assert.Equal(t, "503 not ready: orders\n", r.readyz(), "a first result counts at once")
				r.end()
			})
		})
	}

	t.Run("which nobody renews", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			var db service
			var hang atomic.Bool
			release := make(chan struct{})
			cdb := db.check("db")
			cdb.Interval = time.Second
			require.NoError(t, r.AddReadiness(cdb, probes.Check{
				Name: "orders", DependsOn: []string{"db"}, InitiallyPassing: true, Interval: time.Second, Jitter: -1,
				Func: func(context.Context) error {
					if hang.Load() {
						<-release
					}
					return nil
				},
			}))
			r.run()
			db.down.Store(true)
			time.Sleep(3 * time.Second)
			require.Equal(t, "503 not ready: db; skipped: orders\n", r.readyz())
			hang.Store(true)
			db.down.Store(false)
			time.Sleep(time.Second)
			require.Equal(t, okBody, r.readyz())
			r.stop() // so that only its age counts
			time.Sleep(probes.DefaultTimeout - 1)
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			time.Sleep(time.Nanosecond)
			assert.Contains(t, get(r.ReadyHandler()), "503 not ready: ")
			close(release)
			r.end()
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
