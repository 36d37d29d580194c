// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"slices"
	"time"
)

// add adds c and all that it depends on to a set. Each is visited once, since there
// may be exponentially many paths. Nil adds nothing.
func (c *check) add(to map[*check]bool) {
	if c == nil || to[c] {
		return
	}
	to[c] = true
	for _, d := range c.deps {
		d.add(to)
	}
}

// need notes that everything that c depends on is needed at an interval. What
// is needed already has noted that before.
func (c *check) need() {
	for _, d := range c.deps {
		if !d.needed {
			d.needed = true
			d.need()
		}
	}
}

// roots returns the names of the checks at the root of what c is skipped for, and
// until when all of them are tolerated. What c depends on is settled already.
func (c *check) roots() (causes []string, tolerated time.Time) {
	all := true // of them are tolerated
	for _, d := range c.deps {
		known := d.known.Load()
		switch known.state {
		case failing:
			causes = append(causes, d.Name)
		case skipped:
			causes = append(causes, known.causes...)
		default:
			continue
		}
		all = all && !known.tolerated.IsZero()
		tolerated = earliest(tolerated, known.tolerated)
	}
	if !all {
		tolerated = time.Time{}
	}
	slices.Sort(causes)
	return slices.Compact(causes), tolerated
}

// waitsLocked reports whether c has to wait for what it depends on: for a first
// result, or for one that is as fresh as its own is to be. Without that, checks
// that come due together would each report what only one of them has found. What
// it waits for is demanded where it is on demand: now, or at the time wake.
func (r *Registry) waitsLocked(c *check, now time.Time) (waits bool, wake time.Time) {
	for _, d := range c.deps {
		known := d.known.Load()
		fresh := !known.ended.Before(c.next) // so c has what it waited for, however short d's time to live is
		if d.TTL > 0 && known.state != skipped && (!fresh || d.failures > 0) {
			switch again := d.again(known, now); {
			case !now.Before(again):
				r.demandLocked(d, now)
			case d.failures > 0:
				wake = earliest(wake, again)
			}
		}
		pending := d.running || d.demanded || d.TTL == 0 && !now.Before(d.next)
		if known.state == unknown || d.failures > 0 || pending && !fresh {
			waits = true
		}
	}
	return waits, wake
}

// heldLocked reports whether c waits for a run that is late: so a probe is not to
// wait for c. What c depends on was looked at before.
func (c *check) heldLocked(now time.Time) bool {
	return slices.ContainsFunc(c.deps, func(d *check) bool { return d.held || d.lateLocked(now) })
}

// settleLocked makes the checks follow those that they depend on: they are
// skipped while one of them fails, and have yet to run when it does not any more.
func (r *Registry) settleLocked(now time.Time) { r.settleAllLocked(r.order, now) }

// settleAllLocked is the same for some checks, in their order.
func (r *Registry) settleAllLocked(order []*check, now time.Time) {
	for _, c := range order {
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
			} else if c.asked { // and is not likely to ask again soon
				r.demandLocked(c, now)
			}
		}
	}
}
