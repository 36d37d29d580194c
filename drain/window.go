// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"time"
)

const (
	// watchStep is in what steps this process looks whether it stands still.
	watchStep = 100 * time.Millisecond
	// watchLate is by how much a step of one that does is late at least. A busy machine
	// seldom is by as much, and then what was to end goes on for a little.
	watchLate = 200 * time.Millisecond
)

// acceptWindow waits until the floor has passed, it has been quiet and the probers
// have noticed, or until end, or until ctx is done, and reports whether it was
// quiet. A server that has no listener has nothing to wait for; one whose listeners
// have failed meanwhile has not been quiet.
func (s *Server) acceptWindow(ctx context.Context, idle bool, end time.Time) bool {
	if !s.listening() {
		return true
	}
	for s.listening() {
		now := time.Now()
		at, probers := s.quietAt(idle), s.probers.waitUntil(s.FailureThreshold)
		if probers != 0 {
			at = later(at, s.at(probers))
		}
		if !now.Before(at) {
			return true
		}
		if !end.IsZero() && !now.Before(end) {
			return false
		}
		s.watch(ctx, earlier(at, end), probers != 0)
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

func (s *Server) listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners) > 0
}

// watch is wait, and notes if this process has stood still meanwhile, because its share of
// the CPU is used up or its machine is moved. It has not seen then who has come, and when it
// goes on all that it waits for may be long overdue, while clients that have stood still
// with it have yet to do what they were about to.
func (s *Server) watch(ctx context.Context, t time.Time, events bool) {
	for {
		step := earlier(t, time.Now().Add(watchStep))
		if !s.wait(ctx, step, events) {
			return
		}
		if time.Since(step) > watchLate {
			s.stoodStill = s.clock()
			return
		}
		if step.Equal(t) {
			return
		}
	}
}

// wait returns at t, unless t is zero, or when ctx is done, or, if events is set, when
// something has changed. It reports whether it was t.
func (s *Server) wait(ctx context.Context, t time.Time, events bool) bool {
	var due <-chan time.Time
	if !t.IsZero() {
		timer := time.NewTimer(time.Until(t))
		defer timer.Stop()
		due = timer.C
	}
	changed := s.changed
	if !events {
		changed = nil
	}
	select {
	case <-due:
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// earlier returns the earlier of two times, of which a zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// quietAt returns when the accept window can end at the earliest, as far as is
// known now. On a server with traffic the quiet period cannot begin before T0:
// clients with open connections have had no reason to dial.
func (s *Server) quietAt(idle bool) time.Time {
	t0 := s.at(s.t0)
	at := t0.Add(s.floor)
	if s.quiet == 0 {
		return at
	}
	for _, last := range []int64{s.lastNew.Load(), s.stoodStill} {
		if last != 0 {
			at = later(at, s.at(last).Add(s.quiet))
		}
	}
	if !idle {
		at = later(at, t0.Add(s.quiet))
	}
	return at
}
