// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"errors"
	"time"
)

// Run runs the checks until ctx ends, those that are added meanwhile included.
// It then returns nil, as soon as every check that was running has returned, and
// what has changed has been delivered. A check that does not return in its
// timeout, and within DefaultTimeout of the end of ctx, is not waited for, nor is
// a Logger or a listener that blocks for as long.
//
// When Run has returned, liveness stays what it was; readiness turns red as the
// results grow old, those of checks on demand once a probe asks for them. Run may be called once; a second call returns an error and
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
	for _, c := range r.onDemand {
		c.moot.Store(false)
	}
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
		c.mootLocked()
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
		if c.held = c.heldLocked(now); c.held && c.TTL > 0 {
			c.mootLocked()
		}
		return earliest(c.due, wake)
	}
	r.startLocked(ctx, c, now)
	return c.due
}

// finish ends the evaluation. It keeps the liveness checks from growing old: that
// nobody renews their results any more is not a reason to restart the process.
func (r *Registry) finish(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.alive = false
	for c := range r.checks.all() {
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
	for c := range r.checks.all() {
		until := earliest(giveUp, c.began.Add(c.Timeout))
		if c.running && now.Before(until) {
			wake = earliest(wake, until)
		}
	}
	return wake
}
