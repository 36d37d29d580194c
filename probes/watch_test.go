// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A seen is what a loop over Watch saw, and when.
type seen struct {
	after time.Duration
	probes.Status
}

// watch watches in the background. The function that it returns ends that and
// returns what was seen.
func watch(r *probes.Registry) (end func() []seen) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []seen)
	go func() {
		var all []seen
		t0 := time.Now()
		for s := range r.Watch(ctx) {
			all = append(all, seen{time.Since(t0), s})
		}
		done <- all
	}()
	synctest.Wait()
	return func() []seen { synctest.Wait(); cancel(); return <-done }
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r probes.Registry
		end := watch(&r)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		var down atomic.Bool
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(context.Context) error {
			time.Sleep(time.Second / 2)
			if down.Load() {
				return errors.New("down")
			}
			return nil
		}}))
		go func() { ran <- r.Run(ctx) }()
		time.Sleep(10 * time.Second)
		r.Started()
		synctest.Wait()
		down.Store(true)
		time.Sleep(10 * time.Second)
		down.Store(false)
		time.Sleep(10 * time.Second)
		r.Shutdown()
		got := end()
		require.Len(t, got, 5)
		assert.Equal(t, seen{0, probes.Status{Live: true, Reason: "not ready: starting"}}, got[0])
		assert.Equal(t, seen{10 * time.Second, probes.Status{Live: true, Ready: true, Started: true, Serving: true}}, got[1])
		assert.Equal(t, probes.Status{Live: true, Started: true, Reason: "not ready: db"}, got[2].Status)
		assert.Less(t, got[2].after, 11*time.Second)
		assert.Equal(t, probes.Status{Live: true, Ready: true, Started: true, Serving: true}, got[3].Status)
		assert.Equal(t, seen{30 * time.Second, probes.Status{Live: true, Started: true, Serving: true, ShuttingDown: true, Reason: "not ready: shutting down"}}, got[4])
		assert.Equal(t, got[4].Status, r.Status())
		cancel()
		require.NoError(t, <-ran)
	})
}

func TestWatchSeesThatAResultHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(ctx context.Context) error {
			<-time.After(time.Second / 2)
			return nil
		}}))
		r.run()
		time.Sleep(time.Second/2 + 1)
		end := watch(r.Registry)
		r.end() // half a second later, with nothing new from the last run
		time.Sleep(time.Hour)
		got := end()
		require.Len(t, got, 2)
		assert.True(t, got[0].Ready)
		assert.False(t, got[1].Ready)
		assert.Less(t, got[1].after, 2*time.Second)
	})
}

func TestWatchSeesThatALateHeartbeatIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r probes.Registry // that nobody runs: so nothing is published when the beat is late
		loop, err := r.AddHeartbeat("loop", time.Second)
		require.NoError(t, err)
		end := watch(&r)
		for range 2 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			loop.Beat()
			synctest.Wait()
		}
		var live []bool
		for _, s := range end() {
			live = append(live, s.Live)
		}
		assert.Equal(t, []bool{true, false, true, false, true}, live)
	})
}

func TestWatchSeesWhatComesSoonerThanItWasToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Maintain("", time.Hour)
		end := watch(r.Registry)
		r.Maintain("", time.Minute)
		time.Sleep(2 * time.Minute)
		got := end()
		require.Len(t, got, 2)
		assert.Equal(t, time.Minute, got[1].after)
		assert.True(t, got[1].Ready)
	})
}

func TestWatchHoldsUpNobodyAndGivesTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r probes.Registry
		got := 0
		for s := range r.Watch(t.Context()) {
			if got++; got == 1 {
				r.Started() // from within the loop
				require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: pass}))
				r.Shutdown()
				continue
			}
			assert.True(t, s.ShuttingDown)
			break
		}
		assert.Equal(t, 2, got)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range r.Watch(ctx) {
			t.Error("the context has ended")
		}
	})
}

// What is told by a loop knows of the shutdown before Shutdown returns, unless that
// takes too long.
func TestShutdownWaitsForTheLoops(t *testing.T) {
	for _, tt := range []struct{ body, want time.Duration }{
		{20 * time.Millisecond, 20 * time.Millisecond},
		{time.Hour, 100 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var r probes.Registry
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var told atomic.Bool
			for range 3 {
				go func() {
					for s := range r.Watch(ctx) {
						if s.ShuttingDown {
							time.Sleep(tt.body)
							told.Store(true)
						}
					}
				}()
			}
			synctest.Wait()
			t0 := time.Now()
			r.Shutdown()
			assert.Equal(t, tt.want, time.Since(t0))
			assert.Equal(t, tt.want == tt.body, told.Load())
			time.Sleep(tt.body)
			synctest.Wait()
			t0 = time.Now()
			r.Shutdown()
			assert.Zero(t, time.Since(t0), "nobody is left")
		})
	}
}

// The end of the accept window is told wherever a change is, and once.
func TestAcceptWindowClosedIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		before   func(*rig)
		moment   probes.Moment
		from     string
		shutdown bool // is called first
		ready    bool // in the window
	}{
		"red at once":             {func(*rig) {}, probes.AtShutdown, "passing", true, false},
		"red never":               {func(*rig) {}, probes.Never, "passing", true, true},
		"red with it":             {func(*rig) {}, probes.AtAcceptWindowClosed, "passing", true, true},
		"without Shutdown":        {func(*rig) {}, probes.AtShutdown, "passing", false, false},
		"from red":                {func(r *rig) { r.ready("db", fail) }, probes.AtShutdown, "failing", true, false},
		"from maintenance":        {func(r *rig) { r.Maintain("", 0) }, probes.AtShutdown, "failing", true, false},
		"from degraded":           {func(r *rig) { _ = r.AddReadiness(probes.Check{Name: "x", Func: fail, Optional: true}) }, probes.AtShutdown, "degraded", true, false},
		"and the check goes late": {func(r *rig) { r.ready("db", pass) }, probes.Never, "passing", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.RedAt = tt.moment
				var heard []probes.Change
				r.OnChange = func(c probes.Change) { heard = append(heard, c) }
				tt.before(r)
				r.run()
				time.Sleep(time.Second)
				end := watch(r.Registry)
				if tt.shutdown {
					r.Shutdown()
					time.Sleep(forLong)
				}
				synctest.Wait()
				before := len(heard)
				for _, c := range heard {
					assert.NotEqual(t, "serving", c.Probe, "%+v", c)
				}
				assert.NotContains(t, r.all(), "probe=serving")
				was := r.Status()
				closed := time.Now()
				r.AcceptWindowClosed()
				r.AcceptWindowClosed()
				time.Sleep(forLong)
				synctest.Wait()
				want := probes.Change{Time: closed, Probe: "serving", From: tt.from, To: "failing", Reason: "not ready: shutting down"}
				var got []probes.Change
				for _, c := range heard[before:] {
					if c.Probe == "serving" {
						got = append(got, c)
					}
				}
				assert.Equal(t, []probes.Change{want}, got)
				assert.Equal(t, heard, r.History())
				assert.Equal(t, 1, strings.Count(r.all(), `level=INFO msg="probes: probe fails" probe=serving reason="not ready: shutting down"`+"\n"))
				statuses := end()
				last := statuses[len(statuses)-1].Status
				assert.Equal(t, tt.shutdown && tt.from != "failing", was.Serving == was.ShuttingDown && was.Serving)
				if tt.shutdown {
					assert.Equal(t, tt.ready, was.Ready)
				}
				assert.False(t, last.Serving)
				assert.Equal(t, tt.moment == probes.Never, last.Ready)
				r.end()
			})
		})
	}
}
