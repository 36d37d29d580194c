// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowProfile runs an App of which a stop hangs, and Flush takes 500 ms, and which
// has a profile under way that is done that long after T0.
func slowProfile(t *testing.T, done time.Duration) (r *Report) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		a := &App{
			Logger:     slog.New(slog.DiscardHandler),
			Components: []Component{{Name: "guilty", Stop: func(context.Context) error { <-release; return nil }}},
			Flush:      func(context.Context) error { time.Sleep(500 * time.Millisecond); return nil },
		}
		p, err := newProcess(a)
		require.NoError(t, err)
		slow := &profile{done: make(chan struct{}), stacks: map[string]*stacks{"guilty": {blocks: []string{"its stack"}}}}
		p.profiler.last = slow
		time.AfterFunc(time.Minute+done, func() {
			slow.phase, slow.ended, slow.took = p.phase(), time.Now(), time.Minute
			close(slow.done)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, p.run(ctx), ErrDeadline)
		r = a.Report()
		if left := done - r.Took; left > 0 {
			time.Sleep(left)
		}
	})
	return r
}

// TestSlowProfileDelaysNothing: it is waited for no longer than stacksWait at a
// deadline and at the end, and the report says so.
func TestSlowProfileDelaysNothing(t *testing.T) {
	const deadline, flush, wait = 28 * time.Second, 500 * time.Millisecond, 10 * time.Millisecond
	for _, tt := range []struct {
		name       string
		done, took time.Duration
		stacks     string
	}{
		{"in time", deadline - 1, deadline + flush, "its stack"},
		{"just in time", deadline + wait/2, deadline + wait/2 + flush, "its stack"},
		{"while Flush runs", deadline + flush/2, deadline + wait + flush, "its stack"},
		{"not before the end", deadline + time.Second, deadline + wait + flush + wait, notInTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := slowProfile(t, tt.done)
			assert.Equal(t, tt.took, r.Took)
			assert.Equal(t, tt.stacks, r.Components[0].Stacks)
		})
	}
}

// TestProfilesAreFew: one serves all that hang in a phase, unless a tenth of the time
// is enough for more.
func TestProfilesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProfiler()
		first := p.begin(1)
		assert.Same(t, first, p.begin(2), "one that is under way serves all")
		<-first.done
		first.took = 100 * time.Millisecond
		time.Sleep(900 * time.Millisecond)
		assert.Same(t, first, p.begin(1))
		time.Sleep(time.Nanosecond)
		second := p.begin(1)
		assert.NotSame(t, first, second)
		<-second.done
		second.took = 100 * time.Millisecond
		third := p.begin(2)
		assert.NotSame(t, second, third, "each phase is sure of one")
		<-third.done
	})
}

// TestProfileBeginsAheadOfTheDeadline: the more goroutines there are, the earlier.
func TestProfileBeginsAheadOfTheDeadline(t *testing.T) {
	for _, tt := range []struct {
		goroutines int
		ahead      time.Duration
	}{{0, 25 * time.Millisecond}, {6000, 85 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			for range tt.goroutines {
				go func() { <-release }()
			}
			a := &App{
				Logger:     slog.New(slog.DiscardHandler),
				Components: []Component{{Name: "guilty", Stop: func(context.Context) error { <-release; return nil }}},
			}
			p, err := newProcess(a)
			require.NoError(t, err)
			begun := false
			time.AfterFunc(29*time.Second-tt.ahead, func() {
				p.profiler.mu.Lock()
				defer p.profiler.mu.Unlock()
				begun = p.profiler.last != nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, p.run(ctx), ErrDeadline)
			assert.True(t, begun, "%d goroutines", tt.goroutines)
		})
	}
}

func TestLead(t *testing.T) {
	assert.Equal(t, time.Duration(0), lead(-1))
	assert.Equal(t, time.Millisecond/2, lead(5*time.Millisecond))
	assert.Less(t, lead(time.Hour), time.Second)
}

// TestLastWordsSayWhatWasCalledLast: a Run whose goroutine has not come to it yet, on a
// busy machine, does not hide that its component is being stopped.
func TestLastWordsSayWhatWasCalledLast(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			p, err := newProcess(&App{Components: []Component{{Name: "guilty", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}}})
			require.NoError(t, err)
			part := p.parts[0]
			p.runPart(t.Context(), part)
			part.set("stop")
			synctest.Wait()
			assert.Equal(t, "stop", part.doing())
			part.cancelRun()
		})
	}
}
