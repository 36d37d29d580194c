// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"fmt"
	"slices"
	"time"

	"github.com/lameduck-go/lameduck/internal/steps"
)

// A step is something that start-up waits for.
type step struct {
	name string
	done bool
	lent bool // by package lifecycle; the program has not announced it, and may yet
}

func init() {
	steps.Lend = func(registry any, name string) (done func()) { return registry.(*Registry).lend(name) }
}

// Expect announces a step of start-up, such as a migration or a warm cache. The
// startup and readiness probes fail, and name it, until the function that is
// returned has been called, and Started too. That function may be called at any
// time and more than once.
//
// The name is required and unique among the steps. After start-up is over nothing
// can be expected any more. The error wraps ErrInvalid.
func (r *Registry) Expect(name string) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.stepLocked(name)
	switch {
	case name == "":
		return nil, fmt.Errorf("%w: a startup step has no name", ErrInvalid)
	case !printable(name):
		return nil, fmt.Errorf("%w: startup step %q has characters in its name that cannot be printed", ErrInvalid, name)
	case i >= 0 && !r.phase.steps[i].lent:
		return nil, fmt.Errorf("%w: there is a startup step %q already", ErrInvalid, name)
	case r.phase.up:
		return nil, fmt.Errorf("%w: startup step %q is announced after the start", ErrInvalid, name)
	}
	return r.announceLocked(i, step{name: name}), nil
}

// lend is Expect for a name that the program may still expect itself; see package steps.
func (r *Registry) lend(name string) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.stepLocked(name)
	if i >= 0 || r.phase.up || !printable(name) {
		return func() {}
	}
	return r.announceLocked(i, step{name: name, lent: true})
}

// stepLocked returns the index of the step of that name, or -1.
func (r *Registry) stepLocked(name string) int {
	return slices.IndexFunc(r.phase.steps, func(s step) bool { return s.name == name })
}

// announceLocked puts a step in the place of the one at an index, or behind all if that
// is negative, and returns what ticks it off.
func (r *Registry) announceLocked(i int, s step) (done func()) {
	r.phase.steps = slices.Clone(r.phase.steps)
	if i < 0 {
		i = len(r.phase.steps)
		r.phase.steps = append(r.phase.steps, s)
	}
	r.phase.steps[i] = s
	r.publishLocked(time.Now())
	return func() { r.tick(i, s.lent) }
}

// tick ticks off a step, unless another has taken its place.
func (r *Registry) tick(i int, lent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase.steps[i].done || r.phase.steps[i].lent != lent {
		return
	}
	now := time.Now()
	r.phase.steps = slices.Clone(r.phase.steps)
	r.phase.steps[i].done = true
	r.noteLocked(event{Change: Change{Time: now, Probe: startup.String(), Check: r.phase.steps[i].name,
		From: unknown.String(), To: passing.String()}})
	r.upLocked()
	r.publishLocked(now)
}

// upLocked notes that start-up is over when it is, which is for good: nothing can
// be expected after that.
func (r *Registry) upLocked() {
	waits := slices.ContainsFunc(r.phase.steps, func(s step) bool { return !s.done })
	r.phase.up = r.phase.started && !waits
}

// Maintain turns readiness red until EndMaintenance, and if d is positive, for d at
// most. Zero means no other end; if d is negative, as time.Until says of what is
// over, nothing is done. The time is that of the monotonic clock: setting the wall
// clock makes it neither longer nor shorter. A later call takes the place of an
// earlier one. The reason is for the log, the history, and those who may see
// errors. At shutdown it has no say.
func (r *Registry) Maintain(reason string, d time.Duration) {
	if d < 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.phase.maintained, r.phase.reason, r.phase.back = true, reason, time.Time{}
	if d > 0 {
		r.phase.back = now.Add(min(d, forever))
	}
	r.publishLocked(now)
	r.wakeLocked()
}

// EndMaintenance ends what Maintain has begun.
func (r *Registry) EndMaintenance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase.maintained = false
	r.publishLocked(time.Now())
}
