// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A trial is a test of what has to be done in time, on a machine that may stand still or
// have little time for it. What fails is not yet a failure of the test.
type trial struct {
	testing.TB
	clock *steadyClock

	mu       sync.Mutex
	problems []string
}

func (tr *trial) Errorf(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

func (tr *trial) Fatalf(format string, args ...any) {
	tr.Errorf(format, args...)
	tr.FailNow()
}

func (tr *trial) FailNow() { runtime.Goexit() }

// stillness is for how long a process may be kept from running, at once, in a trial that
// counts.
const stillness = 100 * time.Millisecond

// steadily calls f until it has not failed, or has in spite of a machine that let this
// process run all the time. f is called in a goroutine of its own.
func steadily(t *testing.T, f func(t *trial)) {
	t.Helper()
	for t.Context().Err() == nil {
		tr := &trial{TB: t, clock: startClock()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			f(tr)
		}()
		<-done
		still := tr.clock.stop()
		if len(tr.problems) == 0 {
			return
		}
		problems := strings.Join(tr.problems, "\n")
		if still < stillness {
			t.Fatal(problems)
		}
		t.Logf("again, since this process stood still for %v:\n%s", still, problems)
	}
}

// A steadyClock is for what must not take longer than some time. It goes in ticks, and what
// the process stands still for is no more than one of them.
type steadyClock struct {
	end     sync.Once
	stopped chan struct{} // closed by stop
	over    chan struct{} // closed when nothing below changes any more

	mu    sync.Mutex // guards what follows
	ticks int
	worst time.Duration // what a tick was late at most
}

const tick = 5 * time.Millisecond

func startClock() *steadyClock {
	c := &steadyClock{stopped: make(chan struct{}), over: make(chan struct{})}
	go c.run()
	return c
}

func (c *steadyClock) run() {
	defer close(c.over)
	for {
		t0 := time.Now()
		select {
		case <-time.After(tick):
			c.tick(time.Since(t0) - tick)
		case <-c.stopped:
			return
		}
	}
}

func (c *steadyClock) tick(late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticks++
	c.worst = max(c.worst, late)
}

// now returns how long the process has run.
func (c *steadyClock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.ticks) * tick
}

// stop ends the clock, and returns for how long the process stood still at once.
func (c *steadyClock) stop() time.Duration {
	c.end.Do(func() { close(c.stopped) })
	<-c.over
	return c.worst
}

// TestTrials: what fails on a machine that stands still is tried again.
func TestTrials(t *testing.T) {
	tries := 0
	steadily(t, func(tr *trial) {
		if tries++; tries < 3 {
			tr.clock.tick(time.Second)
			require.Fail(tr, "not this time")
			panic("unreachable")
		}
		assert.Zero(tr, tr.clock.stop()/time.Hour)
	})
	assert.Equal(t, 3, tries)
}
