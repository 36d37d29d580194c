// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// maxQueue is how many values may wait for a courier. What comes beyond it is
// lost: whoever takes that long does not come back.
const maxQueue = 1 << 16

// A courier hands values to a function of the caller's, one at a time and in
// order, in a goroutine of its own. So the function can block and break nobody
// but itself: send never waits for it, and a panic or a [runtime.Goexit] in it
// ends the courier and nothing else.
type courier[T any] struct {
	deliver func(T)
	wake    chan struct{} // capacity 1: queue or closed has changed
	done    chan struct{} // closed when run returns; publishes fault

	mu     sync.Mutex // guards what follows; nothing is called under it
	queue  []T
	closed bool // nothing is taken any more
	fault  string
}

func newCourier[T any](deliver func(T)) *courier[T] {
	return &courier[T]{deliver: deliver, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// send reports whether the courier takes v.
func (c *courier[T]) send(v T) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.queue) == maxQueue {
		return false
	}
	c.queue = append(c.queue, v)
	c.wakeLocked()
	return true
}

func (c *courier[T]) wakeLocked() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run delivers until the courier is closed and has nothing left.
func (c *courier[T]) run() {
	defer close(c.done)
	fault := errGoexit.Error()
	defer func() { c.end(fault) }()
	defer func() {
		if v := recover(); v != nil {
			fault = fmt.Sprintf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	var batch []T
	for more := true; more; {
		if batch, more = c.take(batch); len(batch) == 0 && more {
			<-c.wake
		}
		for _, v := range batch {
			c.deliver(v)
		}
		clear(batch)
	}
	fault = ""
}

// take returns what waits, and whether more may come. The space of what was taken
// before is for what comes.
func (c *courier[T]) take(space []T) (batch []T, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, c.queue = c.queue, space[:0]
	return batch, len(batch) > 0 || !c.closed
}

func (c *courier[T]) end(fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.queue, c.fault = true, nil, fault
}

// ended reports whether run has returned in good order.
func (c *courier[T]) ended() bool { return isClosed(c.done) && c.wait(time.Time{}) == "" }

// close makes run return once everything that was sent is delivered.
func (c *courier[T]) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wakeLocked()
}

// wait waits for run to return, until t at the latest. It says what has become of
// the courier: "" if all was delivered.
func (c *courier[T]) wait(t time.Time) (fault string) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		if !isClosed(c.done) {
			return "it has not returned"
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}
