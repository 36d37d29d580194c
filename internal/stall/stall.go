// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package stall tells tests for how long their process has run, and not, on a machine that
// is busy or stands still: what a clock says then is not what the code under test has taken.
package stall

import (
	"sync"
	"time"
)

const tick = 5 * time.Millisecond

// A Clock goes in ticks. What the process stands still for is no more than one of them.
type Clock struct {
	end     sync.Once
	stopped chan struct{} // closed by Stop
	over    chan struct{} // closed when nothing below changes any more

	mu    sync.Mutex // guards what follows
	ticks int
	late  time.Duration // what a tick was late at most
}

// Start starts a clock.
func Start() *Clock {
	c := &Clock{stopped: make(chan struct{}), over: make(chan struct{})}
	go c.run(time.Now())
	return c
}

// Watch starts a clock, and returns its Stop.
func Watch() (longest func() time.Duration) { return Start().Stop }

// run ticks. Each tick counts from the last, so that no stop falls between two.
func (c *Clock) run(last time.Time) {
	defer close(c.over)
	for over := false; !over; {
		select {
		case <-time.After(tick):
		case <-c.stopped:
			over = true
		}
		now := time.Now()
		c.tick(now.Sub(last) - tick)
		last = now
	}
}

func (c *Clock) tick(late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticks++
	c.late = max(c.late, late)
}

// Now returns how long the process has run since Start.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.ticks) * tick
}

// Stop ends the clock, and returns for how long the process stood still at once. It may be
// called again.
func (c *Clock) Stop() (longest time.Duration) {
	c.end.Do(func() { close(c.stopped) })
	<-c.over
	return c.late
}
