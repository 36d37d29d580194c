// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// jitter is the part of an interval by which it is shortened at most, unless a
// check says otherwise.
const jitter = 10

// An outcome is what a run has come to.
type outcome struct {
	failed bool
	took   time.Duration
	text   string // why it failed
	public string // the same in words of ours; empty: there are none
	broken bool   // the check has panicked or left its goroutine
	stack  string // where it has panicked
}

// startLocked starts a run of c.
func (r *Registry) startLocked(ctx context.Context, c *check, now time.Time) {
	c.running, c.void, c.demanded, c.held = true, false, false, false
	c.moot.Store(false)
	c.began, c.due = now, now.Add(c.Timeout)
	r.expireLocked(c, c.due)
	go r.run(ctx, c, c.due)
}

// expireLocked notes that the result of c is too old, unless there is one before,
// when as many are missing in a row as make it fail: the first one at due.
func (r *Registry) expireLocked(c *check, due time.Time) {
	known := c.known.Load()
	if known.state == failing || known.state == skipped {
		return
	}
	next := *known
	missing := max(c.FailureThreshold-c.failures-1, 0)
	if known.state == unknown && !c.InitiallyPassing {
		missing = 0
	}
	next.expires = due.Add(times(missing, c.FailingInterval+c.Timeout))
	c.known.Store(&next)
}

// run runs c once. It holds what Func can do to a goroutine, and has the error
// write its text here, where it can block or panic as Func can.
func (r *Registry) run(ctx context.Context, c *check, deadline time.Time) {
	o := outcome{failed: true, text: "runtime.Goexit called", public: "runtime.Goexit called", broken: true}
	defer func() {
		if v := recover(); v != nil {
			o.text, o.public = panicText(v), "panicked"
			o.stack = string(debug.Stack())
		}
		r.end(ctx, c, o, time.Now())
	}()
	runCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := c.Func(runCtx)
	if err != nil {
		o.text, o.public = bounded(err.Error(), maxError), ""
	}
	o.failed, o.broken = err != nil, false
}

// end takes the result of a run, which was over at the time now. When ctx, which is
// Run's, has ended, the result says more about that than about what was checked.
// It leaves publishing to Run, so that a thousand results that come together are
// judged together, unless a probe waits for this one. After a run that does not
// count whoever waits goes on waiting: for the next one.
func (r *Registry) end(ctx context.Context, c *check, o outcome, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	void := c.void
	c.running, c.void = false, false
	if o.broken && c.broken == "" {
		c.broken = o.text
	}
	if ctx.Err() == nil && !r.retiredLocked(c) && !void {
		o.took = now.Sub(c.began)
		if o.took >= c.Timeout {
			o.failed = true
			o.text = fmt.Sprintf("timed out after %v", c.Timeout)
			o.public = o.text
		}
		if c.due.Equal(c.began.Add(c.Timeout)) { // or else it was counted when it was late
			r.takeLocked(c, o, now)
		}
		r.scheduleLocked(c, now)
		if c.over != nil {
			r.publishLocked(now)
		}
	}
	if !void {
		c.finishLocked()
	}
	r.wakeLocked()
}

// lateness is the outcome of a run of which there is none in time.
func (c *check) lateness(now time.Time) outcome {
	o := outcome{failed: true, took: now.Sub(c.began), text: "no result in time: it was not started"}
	if c.running {
		o.text = fmt.Sprintf("timed out after %v", c.Timeout)
	}
	o.public = o.text
	return o
}

// scheduleLocked decides when c runs again, and when not to have a result by then
// is a failure.
func (r *Registry) scheduleLocked(c *check, now time.Time) {
	interval := c.Interval
	if c.failures > 0 || c.known.Load().state == failing {
		interval = c.FailingInterval
	}
	most := interval / jitter
	if c.Jitter != 0 {
		most = min(max(c.Jitter, 0), interval)
	}
	c.next = now.Add(interval - rand.N(most+1))
	c.due = c.next.Add(c.patience + c.Timeout)
	if c.TTL > 0 {
		c.due = time.Time{} // until it is demanded
	}
	next := *c.known.Load()
	next.ended, next.expires = now, time.Time{}
	c.known.Store(&next)
	if !c.due.IsZero() {
		r.expireLocked(c, c.due)
	}
}

// finishLocked notes that nobody asks for c any more.
func (c *check) finishLocked() {
	c.demanded, c.held = false, false
	c.moot.Store(false)
	c.letGoLocked()
}

// takeLocked takes an outcome into account.
func (r *Registry) takeLocked(c *check, o outcome, now time.Time) {
	known := c.known.Load()
	next := *known
	next.took = o.took
	if o.failed {
		c.failures++
		c.successes = 0
	} else {
		c.successes++
		c.failures = 0
	}
	first := known.state == unknown && !c.InitiallyPassing
	switch {
	case o.failed && (first || c.failures >= c.FailureThreshold):
		next.state = failing
	case !o.failed && (known.state != failing || c.successes >= c.SuccessThreshold):
		next.state = passing
	}
	if o.failed {
		next.text, next.public = o.text, o.public
	}
	r.moveLocked(c, &next, o, now)
	if next.state != known.state && c.followed {
		r.settleLocked(now)
	}
}

// moveLocked is the one place where the state of a check moves.
func (r *Registry) moveLocked(c *check, next *result, o outcome, now time.Time) {
	from := c.known.Load().state
	r.moved = true
	if next.state != from {
		if next.state == failing || from == failing || next.state == passing {
			c.allowance = c.allowanceAt(now, from)
		}
		if next.state == failing || next.state == passing {
			next.tolerated = time.Time{} // which may be that of a dependency
		}
		if next.state == failing && c.Tolerate > 0 {
			next.tolerated = now.Add(c.allowance.left)
		}
		r.noteCheckLocked(c, from, next, o, now)
	}
	if next.state == passing {
		next.text, next.public = "", ""
		next.budget = c.allowanceAt(now, passing).left
	}
	if next.state != passing && next.state != unknown {
		next.expires = time.Time{}
	}
	c.known.Store(next)
}
