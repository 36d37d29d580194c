// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// jitter is the part of an interval by which it is shortened at most.
const jitter = 10

// An event is a change of a check's state.
type event struct {
	check *check
	to    state
	took  time.Duration
	text  string // why, when failing

	broken bool   // the check has panicked or left its goroutine
	stack  string // where it has panicked
}

// Run runs the checks until ctx ends, those that are added meanwhile included.
// It then returns nil, as soon as every check that was running has returned. A
// check that does not return in its timeout, and within DefaultTimeout of the
// end of ctx, is not waited for.
//
// When Run has returned, liveness stays what it was; readiness turns red as the
// results grow old. Run may be called once; a second call returns an error and
// does nothing.
func (r *Registry) Run(ctx context.Context) error {
	if !r.begin() {
		return errors.New("probes: Run called twice")
	}
	for ctx.Err() == nil {
		wake := r.step(ctx)
		r.log(ctx)
		r.wait(ctx.Done(), wake)
	}
	r.freeze()
	r.log(ctx)
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
		timeout = time.After(time.Until(t))
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
	for _, c := range r.checks {
		if r.retiredLocked(c) {
			continue
		}
		// First the verdict, then the new run with a time of its own: so a
		// start that comes late does not excuse that it was late.
		if c.state != failing && c.overdue(now) {
			r.moveLocked(event{check: c, to: failing, took: now.Sub(c.began), text: c.late()})
		}
		if !c.running && !now.Before(c.next) {
			c.running = true
			c.began = now
			c.due = now.Add(c.Timeout)
			go r.run(ctx, c, c.due)
		}
		switch {
		case !c.running:
			wake = earliest(wake, c.next)
		case c.state != failing:
			wake = earliest(wake, c.due)
		}
	}
	r.publishLocked(now)
	return wake
}

// retiredLocked reports whether c has no say any more.
func (r *Registry) retiredLocked(c *check) bool {
	return r.down && c.kind == readiness
}

// late says why an overdue check is failing.
func (c *check) late() string {
	if !c.running {
		return "no result in time: it was not started"
	}
	return fmt.Sprintf("timed out after %v", c.Timeout)
}

// run runs c once. It holds what Func can do to a goroutine, and has the error
// write its text here, where it can block or panic as Func can.
func (r *Registry) run(ctx context.Context, c *check, deadline time.Time) {
	e := event{check: c, to: failing, text: "runtime.Goexit called", broken: true}
	defer func() {
		if v := recover(); v != nil {
			e.text = fmt.Sprintf("panic: %v", v)
			e.stack = string(debug.Stack())
		}
		r.end(ctx, e)
	}()
	runCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := c.Func(runCtx); err != nil {
		e.text = err.Error()
	} else {
		e.to = passing
	}
	e.broken = false
}

// end takes the result of a run. When ctx, which is Run's, has ended, the result
// says more about that than about what was checked.
func (r *Registry) end(ctx context.Context, e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, now := e.check, time.Now()
	c.running = false
	if e.broken && c.broken == "" {
		c.broken = e.text
	}
	if ctx.Err() == nil && !r.retiredLocked(c) {
		e.took = now.Sub(c.began)
		if e.took >= c.Timeout {
			e.to, e.text = failing, fmt.Sprintf("timed out after %v", c.Timeout)
		}
		r.moveLocked(e)
		c.next = now.Add(c.Interval - rand.N(c.Interval/jitter+1))
		c.due = c.next.Add(c.Timeout)
		r.publishLocked(now)
	}
	r.wakeLocked()
}

// moveLocked moves the state of a check, and notes what is to be logged of it.
func (r *Registry) moveLocked(e event) {
	from := e.check.state
	e.check.state = e.to
	if e.to != from && (e.to == failing || from == failing) {
		r.events = append(r.events, e)
	}
}

// freeze keeps the liveness checks from growing old: that nobody renews their
// results any more is not a reason to restart the process.
func (r *Registry) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checks {
		if c.kind == liveness {
			c.due = time.Time{}
		}
	}
	r.publishLocked(time.Now())
}

// returning returns until when to wait for a check that still runs, and zero
// when none is left to be waited for.
func (r *Registry) returning(giveUp time.Time) (wake time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, c := range r.checks {
		until := earliest(giveUp, c.began.Add(c.Timeout))
		if c.running && now.Before(until) {
			wake = earliest(wake, until)
		}
	}
	return wake
}

// log writes what has changed. Only Run calls it, so that the order is that in
// which it happened.
func (r *Registry) log(ctx context.Context) {
	r.mu.Lock()
	events := r.events
	r.events = nil
	r.mu.Unlock()
	logger := r.Logger
	if logger == nil {
		logger = slog.Default()
	}
	for _, e := range events {
		attrs := []slog.Attr{
			slog.String("check", e.check.Name),
			slog.String("probe", e.check.kind.String()),
			slog.Duration("took", e.took),
		}
		if e.to == failing {
			attrs = append(attrs, slog.String("error", e.text))
			if e.stack != "" {
				attrs = append(attrs, slog.String("stack", e.stack))
			}
			logger.LogAttrs(ctx, slog.LevelWarn, "probes: check is failing", attrs...)
		} else {
			logger.LogAttrs(ctx, slog.LevelInfo, "probes: check has recovered", attrs...)
		}
	}
}
