// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
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

// Run runs the checks until ctx ends, those that are added meanwhile included.
// It then returns nil, as soon as every check that was running has returned, and
// what has changed has been delivered. A check that does not return in its
// timeout, and within DefaultTimeout of the end of ctx, is not waited for, nor is
// a Logger or a listener that blocks for as long.
//
// When Run has returned, liveness stays what it was; readiness turns red as the
// results grow old. Run may be called once; a second call returns an error and
// does nothing.
func (r *Registry) Run(ctx context.Context) error {
	if !r.begin() {
		return errors.New("probes: Run called twice")
	}
	for ctx.Err() == nil {
		r.wait(ctx.Done(), r.step(ctx))
	}
	r.finish(ctx)
	giveUp := time.Now().Add(DefaultTimeout)
	for {
		wake := r.returning(giveUp)
		if wake.IsZero() {
			return nil
		}
		r.wait(nil, wake)
	}
}

// begin reports whether this is the first call of Run.
func (r *Registry) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		return false
	}
	r.changed = make(chan struct{}, 1)
	r.alive = true
	return true
}

// wakeLocked makes Run look again.
func (r *Registry) wakeLocked() {
	select {
	case r.changed <- struct{}{}:
	default: // it will look anyway, or is not there yet
	}
}

// wait returns when something changes, when done is closed, and at time t unless
// that is zero.
func (r *Registry) wait(done <-chan struct{}, t time.Time) {
	var timeout <-chan time.Time
	if !t.IsZero() {
		timer := time.NewTimer(time.Until(t))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-done:
	case <-r.changed:
	case <-timeout:
	}
}

// step judges what is overdue, starts what is to be started, and returns when
// the next of either will be.
func (r *Registry) step(ctx context.Context) (wake time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, c := range r.order {
		switch {
		case r.retiredLocked(c):
		case c.beat != nil:
			wake = earliest(wake, r.listenLocked(c, now))
		default:
			wake = earliest(wake, r.stepCheckLocked(ctx, c, now))
		}
	}
	r.publishLocked(now)
	for _, v := range r.current.Load().verdicts {
		wake = earliest(wake, v.until) // the end of maintenance, or of what is tolerated
	}
	r.deliverLocked(ctx)
	return wake
}

// retiredLocked reports whether c has no say any more.
func (r *Registry) retiredLocked(c *check) bool {
	return r.phase.down && c.kind == readiness
}

// stepCheckLocked does what is to be done about one check now, and returns when
// there will be something again.
func (r *Registry) stepCheckLocked(ctx context.Context, c *check, now time.Time) (wake time.Time) {
	// First the verdict, then the new run with a time of its own: so a start
	// that comes late does not excuse that it was late.
	for !c.due.IsZero() && !now.Before(c.due) {
		due := c.due
		r.takeLocked(c, c.lateness(now), now)
		if c.due = (time.Time{}); c.known.Load().state != failing {
			c.due = due.Add(c.FailingInterval + c.Timeout)
		}
	}
	if c.running {
		return c.due
	}
	known := c.known.Load()
	if known.state == skipped {
		return time.Time{}
	}
	if c.TTL > 0 && !c.demanded {
		if !c.needed || known.state != failing && c.failures == 0 {
			return time.Time{}
		}
		if wake = c.again(known, now); now.Before(wake) {
			return wake
		}
		r.demandLocked(c, now)
	}
	if now.Before(c.next) {
		return earliest(c.next, c.due)
	}
	if waits, wake := r.waitsLocked(c, now); waits {
		return earliest(c.due, wake)
	}
	r.startLocked(ctx, c, now)
	return c.due
}

// again returns when a check on demand is to run again for those that depend on
// it: when its result is too old, and after a failure, which they may wait to see
// decided, at the interval for that.
func (c *check) again(known *result, now time.Time) time.Time {
	if !known.ended.IsZero() && (known.state == failing || c.failures > 0) {
		return known.ended.Add(c.FailingInterval)
	}
	return c.stale(known, now)
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

// waitsLocked reports whether c has to wait for what it depends on: for a first
// result, or for one that is as fresh as its own is to be. Without that, checks
// that come due together would each report what only one of them has found. What
// it waits for is demanded where it is on demand: now, or at the time wake.
func (r *Registry) waitsLocked(c *check, now time.Time) (waits bool, wake time.Time) {
	for _, d := range c.deps {
		known := d.known.Load()
		if d.TTL > 0 && known.state != skipped {
			switch again := d.again(known, now); {
			case !now.Before(again):
				r.demandLocked(d, now)
			case d.failures > 0:
				wake = earliest(wake, again)
			}
		}
		pending := d.running || d.demanded || d.TTL == 0 && !now.Before(d.next)
		fresh := !known.ended.Before(c.next)
		if known.state == unknown || d.failures > 0 || pending && !fresh {
			waits = true
		}
	}
	return waits, wake
}

// startLocked starts a run of c.
func (r *Registry) startLocked(ctx context.Context, c *check, now time.Time) {
	c.running, c.void, c.demanded = true, false, false
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
// judged together, unless a probe waits for this one.
func (r *Registry) end(ctx context.Context, c *check, o outcome, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.running = false
	if o.broken && c.broken == "" {
		c.broken = o.text
	}
	if ctx.Err() == nil && !r.retiredLocked(c) && !c.void {
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
	c.void = false
	c.finishLocked()
	r.wakeLocked()
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

// finishLocked lets go who waits for a run of c.
func (c *check) finishLocked() {
	c.demanded = false
	if c.over != nil {
		close(c.over)
		c.over = nil
	}
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
	if next.state != known.state {
		r.settleLocked(now)
	}
}

// moveLocked is the one place where the state of a check moves.
func (r *Registry) moveLocked(c *check, next *result, o outcome, now time.Time) {
	from := c.known.Load().state
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

// settleLocked makes the checks follow those that they depend on: they are
// skipped while one of them fails, and have yet to run when it does not any more.
func (r *Registry) settleLocked(now time.Time) {
	for _, c := range r.order {
		if len(c.deps) == 0 || r.retiredLocked(c) {
			continue
		}
		known := c.known.Load()
		causes, tolerated := c.roots()
		switch {
		case len(causes) > 0 && (known.state != skipped || !slices.Equal(causes, known.causes) || !tolerated.Equal(known.tolerated)):
			next := *known
			next.state, next.causes, next.tolerated = skipped, causes, tolerated
			r.moveLocked(c, &next, outcome{}, now)
			c.failures, c.successes, c.due, c.void = 0, 0, time.Time{}, c.running
			c.finishLocked()
		case len(causes) == 0 && known.state == skipped:
			// Tolerated as long as before: that the cause is gone makes it no worse.
			next := *known
			next.state, next.causes = unknown, nil
			next.ended, next.expires = time.Time{}, c.firstExpires(now)
			r.moveLocked(c, &next, outcome{}, now)
			c.next = now
			if c.TTL == 0 { // a run from before may still hang
				c.due = now.Add(c.patience + c.Timeout)
			} else if !c.began.IsZero() { // somebody asks for it
				r.demandLocked(c, now)
			}
		}
	}
}

// finish ends the evaluation. It keeps the liveness checks from growing old: that
// nobody renews their results any more is not a reason to restart the process.
func (r *Registry) finish(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.alive = false
	for _, c := range r.checks {
		c.finishLocked()
		if c.kind != liveness {
			continue
		}
		if c.beat != nil {
			c.beat.freeze(now)
		}
		next := *c.known.Load()
		next.expires = time.Time{}
		c.known.Store(&next)
	}
	r.publishLocked(now)
	r.deliverLocked(ctx)
}

// returning returns until when to wait for a check that still runs, or for what
// is being delivered, and zero when none is left to be waited for.
func (r *Registry) returning(giveUp time.Time) (wake time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.delivering && now.Before(giveUp) {
		wake = giveUp
	}
	for _, c := range r.checks {
		until := earliest(giveUp, c.began.Add(c.Timeout))
		if c.running && now.Before(until) {
			wake = earliest(wake, until)
		}
	}
	return wake
}
