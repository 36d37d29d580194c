// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A Heartbeat is a liveness check of a loop, which beats on every turn: also when
// it is idle, and also when the work of the turn has failed, or else the outage
// of a dependency would restart the process.
type Heartbeat struct {
	registry *Registry
	check    *check
	maxAge   time.Duration
	born     time.Time    // what last counts from; never changes
	last     atomic.Int64 // the last beat, in ns since born
	ended    atomic.Bool  // it is not missed any more
	missed   atomic.Bool  // somebody has found that it is late
}

// AddHeartbeat adds a liveness check that fails while the last beat is older than
// maxAge, which must be positive. The first one counts as given now. Its name is
// unique among the liveness checks. The error wraps ErrInvalid.
//
// Run need not run for it. From Shutdown on, and when Run is over, a heartbeat that
// is in time is not missed any more, since then loops end.
func (r *Registry) AddHeartbeat(name string, maxAge time.Duration) (*Heartbeat, error) {
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: a heartbeat has no name", ErrInvalid)
	case !printable(name):
		return nil, fmt.Errorf("%w: heartbeat %q has characters in its name that cannot be printed", ErrInvalid, name)
	case maxAge <= 0:
		return nil, fmt.Errorf("%w: heartbeat %q has the maximum age %v", ErrInvalid, name, maxAge)
	}
	h := &Heartbeat{registry: r, maxAge: min(maxAge, forever), born: time.Now()}
	h.check = &check{Check: Check{Name: name}, kind: liveness, beat: h}
	if err := r.register([]*check{h.check}); err != nil {
		return nil, err
	}
	return h, nil
}

// Beat says that the loop goes on. It costs an atomic store, and may be called
// from any goroutine.
func (h *Heartbeat) Beat() {
	h.last.Store(int64(time.Since(h.born)))
	if h.missed.Load() {
		h.found()
	}
}

// Stop says that the loop has come to its end and will not beat any more. The
// check passes from then on.
func (h *Heartbeat) Stop() {
	h.ended.Store(true)
	h.found()
}

// found publishes that the heartbeat is not late.
func (h *Heartbeat) found() {
	h.missed.Store(false)
	r := h.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publishLocked(time.Now())
	r.wakeLocked()
}

// expires returns when the heartbeat is late, as known at time t, and zero if it
// is never. If it is late it says first that it is missed, and then looks again:
// either that sees a beat that comes at this moment, or the beat sees that it is
// missed.
func (h *Heartbeat) expires(t time.Time) time.Time {
	late := h.lateAt()
	if late.IsZero() || t.Before(late) {
		return late
	}
	h.missed.Store(true)
	return h.lateAt()
}

func (h *Heartbeat) lateAt() time.Time {
	if h.ended.Load() {
		return time.Time{}
	}
	return h.born.Add(time.Duration(h.last.Load()) + h.maxAge)
}

// freeze ends the heartbeat if it is in time.
func (h *Heartbeat) freeze(now time.Time) {
	if now.Before(h.lateAt()) {
		h.ended.Store(true)
	}
}

// late says why the check fails.
func (h *Heartbeat) late() string { return fmt.Sprintf("no beat for %v", h.maxAge) }

// listenLocked takes note of a heartbeat that has become late, or is in time
// again, and returns when it is late next.
func (r *Registry) listenLocked(c *check, now time.Time) (wake time.Time) {
	v := c.view(now)
	next := *c.known.Load()
	next.state = v.state
	var o outcome
	if v.late {
		next.text = c.beat.late()
		next.public = next.text
		o.took = c.beat.maxAge
	}
	r.moveLocked(c, &next, o, now)
	return v.until
}
