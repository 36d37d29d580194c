// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"iter"
	"sync"
	"time"
)

// A Status is what the probes are answered at one moment. It is comparable.
type Status struct {
	Live    bool // the liveness probe passes
	Ready   bool // the readiness probe passes
	Started bool // the startup probe passes
	Serving bool // the second readiness probe passes: as Ready does, but at shutdown

	// ShuttingDown says that Shutdown was called. It stays true.
	ShuttingDown bool

	// Reason is what the readiness probe says when it is not plainly "ok",
	// without the text of any error. It is empty otherwise.
	Reason string
}

// Status returns what the probes are answered now. It takes no lock.
func (r *Registry) Status() Status {
	s, _ := r.status()
	return s
}

// status returns also when that changes by itself, which is zero if it does not.
func (r *Registry) status() (Status, time.Time) {
	current := r.snapshot()
	live, ready, started := current.verdict(liveness), current.verdict(readiness), current.verdict(startup)
	serves := ready
	if current.down {
		serves = current.verdict(serving)
	}
	s := Status{
		Live:         live.grade != bad,
		Ready:        ready.grade != bad,
		Started:      started.grade != bad,
		Serving:      serves.grade != bad,
		ShuttingDown: current.down,
	}
	if ready.grade != good {
		s.Reason = ready.line
	}
	return s, earliest(live.until, ready.until)
}

// Watch returns an iterator over what the probes are answered: what they are
// answered at first, and then each change, until ctx ends or the loop is left.
// A gRPC health server or a service registry follows it.
//
// A change is seen at once, also one that comes by age alone while Run does not
// run. A body of the loop that takes long holds up nobody: it is then given
// what holds by that time, and not what held in between. Any number of loops may
// watch, each from the goroutine that it runs in; no other is started.
//
// Shutdown waits, for 100 ms at most, until the bodies of all loops that run have
// returned from being given that, so that whoever is told by a loop knows before
// whatever comes next. So it is not to be called by a body.
func (r *Registry) Watch(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		r.join()
		leave := sync.OnceFunc(r.leave)
		defer leave()
		var last Status
		for first := true; ctx.Err() == nil; first = false {
			published := r.nextPublished() // first, so that no change is missed
			s, until := r.status()
			if (first || s != last) && !yield(s) {
				return
			}
			if last = s; s.ShuttingDown {
				leave()
			}
			await(ctx, published, until)
		}
	}
}

// watchWait is for how long Shutdown waits for the loops of Watch.
const watchWait = 100 * time.Millisecond

// join notes that Shutdown has to wait for one loop more, and leave for one less.
func (r *Registry) join() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching++
}

func (r *Registry) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watching--; r.watching == 0 && r.unwatched != nil {
		close(r.unwatched)
		r.unwatched = nil
	}
}

// awaitWatchers waits for the loops.
func (r *Registry) awaitWatchers() {
	r.mu.Lock()
	if r.watching > 0 && r.unwatched == nil {
		r.unwatched = make(chan struct{})
	}
	unwatched := r.unwatched
	r.mu.Unlock()
	if unwatched == nil {
		return
	}
	timer := time.NewTimer(watchWait)
	defer timer.Stop()
	select {
	case <-unwatched:
	case <-timer.C:
	}
}

// await returns when ctx ends, when published is closed, and at the time until
// unless that is zero.
func await(ctx context.Context, published <-chan struct{}, until time.Time) {
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
	case <-published:
	case <-timeout:
	}
}

// nextPublished returns a channel that is closed when there is a snapshot with news.
func (r *Registry) nextPublished() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.published == nil {
		r.published = make(chan struct{})
	}
	return r.published
}
