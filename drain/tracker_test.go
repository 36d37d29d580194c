// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// take takes a slot of a tracker that does not drain.
func take(t *testing.T, tr *drain.Tracker, name string) (context.Context, func()) {
	t.Helper()
	ctx, done, err := tr.Start(t.Context(), name)
	require.NoError(t, err)
	return ctx, done
}

// drainIn drains tr in d and returns how long it took.
func drainIn(t *testing.T, tr *drain.Tracker, d time.Duration) (time.Duration, error) {
	t.Helper()
	t0 := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err := tr.Drain(ctx)
	return time.Since(t0), err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestTrackerWaitsForTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr drain.Tracker
		assert.Zero(t, tr.InFlight())
		draining := tr.Draining()
		for i := range 3 {
			_, done := take(t, &tr, "work")
			time.AfterFunc(time.Duration(i+1)*time.Second, done)
		}
		time.AfterFunc(500*time.Millisecond, func() {
			assert.True(t, isClosed(draining))
			assert.Equal(t, 3, tr.InFlight())
			_, _, err := tr.Start(t.Context(), "late")
			assert.Equal(t, drain.ErrDraining, err)
		})
		time.AfterFunc(2500*time.Millisecond, func() { assert.Equal(t, 1, tr.InFlight()) })
		assert.False(t, isClosed(draining))
		assert.Equal(t, 3, tr.InFlight())
		took, err := drainIn(t, &tr, 28*time.Second)
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, took)
		assert.Zero(t, tr.InFlight())
	})
}

func TestTrackerWithoutWork(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
	}{
		{"without a deadline", t.Context()},
		{"with a context that has ended", ended},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Many times: a select that finds both ready takes either.
			for range 100 {
				var fresh, used drain.Tracker
				require.NoError(t, fresh.Drain(tt.ctx))
				assert.True(t, isClosed(fresh.Draining()))
				_, done := take(t, &used, "work")
				done()
				require.NoError(t, used.Drain(tt.ctx))
				require.NoError(t, used.Drain(tt.ctx), "again")
			}
		})
	}
}

func TestTrackerRefuses(t *testing.T) {
	var tr drain.Tracker
	require.NoError(t, tr.Drain(t.Context()))
	ctx, done, err := tr.Start(t.Context(), "late")
	assert.Equal(t, drain.ErrDraining, err)
	assert.Equal(t, t.Context(), ctx, "the caller goes on with its own")
	done()
	assert.Zero(t, tr.InFlight())
}

func TestTrackerCancelsBeforeTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		name        string
		given, want time.Duration
	}{
		{"by the default", 28 * time.Second, 28*time.Second - drain.CancelMargin},
		{"by a quarter", 4 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tr drain.Tracker
				t0 := time.Now()
				ctx, done := take(t, &tr, "work")
				go func() {
					defer done()
					<-ctx.Done()
					assert.Equal(t, tt.want, time.Since(t0))
					assert.Equal(t, drain.ErrCut, context.Cause(ctx))
					time.Sleep(500 * time.Millisecond) // it puts itself away
				}()
				took, err := drainIn(t, &tr, tt.given)
				require.NoError(t, err)
				assert.Equal(t, tt.want+500*time.Millisecond, took)
			})
		})
	}
}

func TestTrackerCutsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr drain.Tracker
		_, slow := take(t, &tr, "import")
		time.Sleep(2 * time.Second)
		_, fast := take(t, &tr, "mail")
		time.AfterFunc(time.Second, fast)
		_, other := take(t, &tr, "export")

		took, err := drainIn(t, &tr, 10*time.Second)
		assert.Equal(t, 10*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		require.EqualError(t, err, "drain: cut at the deadline: export (running for 10s); import (running for 12s)")

		// The result stays, and work that is cut still holds its slot.
		assert.Equal(t, 2, tr.InFlight())
		slow()
		other()
		assert.Zero(t, tr.InFlight())
		took, again := drainIn(t, &tr, time.Second)
		assert.Equal(t, err, again)
		assert.Zero(t, took)
	})
}

func TestTrackerNamesTen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr drain.Tracker
		var named []string
		for i := range 15 {
			_, done := take(t, &tr, fmt.Sprintf("job %02d", i))
			defer done()
			if i < 10 {
				named = append(named, fmt.Sprintf("job %02d (running for 1.5s)", i))
			}
		}
		_, err := drainIn(t, &tr, 1500*time.Millisecond)
		assert.EqualError(t, err, "drain: cut at the deadline: "+strings.Join(named, "; ")+"; and 5 more")
	})
}

func TestTrackerCutsWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr drain.Tracker
		work, done := take(t, &tr, "work")
		defer done()
		time.AfterFunc(time.Hour-1, func() { assert.NoError(t, work.Err(), "without a deadline there is no time before it") })
		t0 := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		err := tr.Drain(ctx)
		assert.Equal(t, time.Hour, time.Since(t0))
		require.EqualError(t, err, "drain: cut at the deadline: work (running for 1h0m0s)")
		assert.Equal(t, drain.ErrCut, context.Cause(work))
	})
}

func TestTrackerDone(t *testing.T) {
	t.Run("frees one slot, and ends the context", func(t *testing.T) {
		var tr drain.Tracker
		ctx, done := take(t, &tr, "work")
		_, other := take(t, &tr, "work")
		var all sync.WaitGroup
		for range 10 {
			all.Go(done)
		}
		all.Wait()
		assert.Equal(t, 1, tr.InFlight())
		assert.Equal(t, context.Canceled, context.Cause(ctx))
		other()
		require.NoError(t, tr.Drain(t.Context()))
		done() // too late to matter
		other()
		assert.Zero(t, tr.InFlight())
	})
	t.Run("runs in a panic", func(t *testing.T) {
		var tr drain.Tracker
		assert.Panics(t, func() {
			_, done := take(t, &tr, "work")
			defer done()
			panic("odd")
		})
		assert.Zero(t, tr.InFlight())
		require.NoError(t, tr.Drain(t.Context()))
	})
	t.Run("is waited for when the caller has cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var tr drain.Tracker
			given, cancel := context.WithCancelCause(t.Context())
			ctx, done, err := tr.Start(given, "work")
			require.NoError(t, err)
			reason := errors.New("not needed any more")
			cancel(reason)
			assert.Equal(t, reason, context.Cause(ctx))
			assert.Equal(t, 1, tr.InFlight())
			time.AfterFunc(time.Second, done)
			took, err := drainIn(t, &tr, 28*time.Second)
			require.NoError(t, err)
			assert.Equal(t, time.Second, took)
		})
	})
}

func TestTrackerDrainsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr drain.Tracker
		work, done := take(t, &tr, "work")
		defer done()
		first := make(chan error, 1)
		go func() {
			_, err := drainIn(t, &tr, 8*time.Second)
			first <- err
		}()
		synctest.Wait()

		// The first call's deadline is the drain's.
		took, err := drainIn(t, &tr, 4*time.Second)
		assert.Equal(t, context.DeadlineExceeded, err)
		assert.Equal(t, 4*time.Second, took)
		assert.NoError(t, work.Err())
		took, err = drainIn(t, &tr, time.Minute)
		assert.Equal(t, 4*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, err, <-first)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			require.Equal(t, err, tr.Drain(ended), "a result is worth more than a context that has ended")
		}
	})
}

// Every Start that succeeds is waited for, however close to Drain it comes: what is
// tallied when a Drain has returned is all there will ever be. The tallies are not
// atomic, so that the race detector checks that every done happens before the return
// of every Drain.
func TestTrackerRace(t *testing.T) {
	const workers, drains, rounds = 4, 2, 500
	for round := range rounds {
		var tr drain.Tracker
		var tallies [workers]int
		var totals [drains]int
		total := func() (n int) {
			for _, tally := range tallies {
				n += tally
			}
			return n
		}
		var all sync.WaitGroup
		begun := make(chan struct{}, workers)
		for i := range workers {
			all.Go(func() {
				for {
					_, done, err := tr.Start(t.Context(), "work")
					if err != nil {
						assert.Equal(t, drain.ErrDraining, err)
						return
					}
					if tallies[i] == 0 {
						begun <- struct{}{}
					}
					runtime.Gosched()
					tallies[i]++
					done()
				}
			})
		}
		for range round % (workers + 1) { // from before the first Start to after all
			<-begun
		}
		for i := range drains {
			all.Go(func() {
				assert.NoError(t, tr.Drain(t.Context()))
				totals[i] = total()
				assert.Zero(t, tr.InFlight())
			})
		}
		all.Wait()
		for _, then := range totals {
			require.Equal(t, total(), then, "a piece of work has ended after Drain")
		}
	}
}
