// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A Tracker counts work in flight that is not HTTP, such as that of workers, queue
// consumers and cron jobs, and drains it. The zero value is ready to use, from any
// goroutine. A Tracker must not be copied after its first use.
//
//	ctx, done, err := tracker.Start(ctx, "import")
//	if err != nil {
//		return err // draining: the work is left to another replica
//	}
//	defer done()
//
// A [sync.WaitGroup] does not do for this: an Add must not meet a Wait that finds
// nothing to wait for. A Start is either refused or waited for.
type Tracker struct {
	once     sync.Once     // guards the making of what is made below
	draining chan struct{} // closed by the first call of Drain
	idle     chan struct{} // closed once draining is and work is empty
	drained  chan struct{} // closed when err is set
	err      error         // what Drain returns

	mu      sync.Mutex // guards what follows; nothing is called under it
	refuses bool       // Drain was called; work only shrinks from here on
	work    map[*piece]struct{}
}

// A piece of work holds a slot for as long as it is in Tracker.work.
type piece struct {
	name   string
	start  time.Time
	cancel context.CancelCauseFunc
}

// Start takes a slot for a piece of work. It returns a context for the work, derived
// from ctx, and a function that ends that context and gives the slot back, which may
// be called more than once and from any goroutine. Until then the slot is held,
// whatever becomes of ctx. The name is for Drain's error and need not be unique.
//
// Once Drain has been called Start returns ErrDraining, with ctx as it was given and
// a function that does nothing.
//
// The context is cancelled with ErrCut as its cause CancelMargin before the drain's
// deadline, or a quarter of the time given if that is less, so that the work can
// still put itself away; and at the latest when the drain ends by force.
func (t *Tracker) Start(ctx context.Context, name string) (context.Context, func(), error) {
	t.setup()
	derived, cancel := context.WithCancelCause(ctx)
	p := &piece{cmp.Or(name, "unnamed work"), time.Now(), cancel}
	if !t.add(p) {
		cancel(ErrDraining)
		return ctx, func() {}, ErrDraining
	}
	return derived, func() { t.remove(p) }, nil
}

// Draining returns a channel that is closed when Drain is called: it is time to stop
// taking work in. What was taken in a moment before may still be refused by Start.
func (t *Tracker) Draining() <-chan struct{} {
	t.setup()
	return t.draining
}

// InFlight returns how many slots are taken. It may be called at any time.
func (t *Tracker) InFlight() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.work)
}

// Drain refuses new work and returns nil when the last piece has given its slot
// back. If ctx ends before that, at its deadline or by being cancelled, Drain cancels
// the contexts of what still runs, and returns without waiting for it. The error then
// wraps ErrCut and names what still runs, ten pieces at most, and for how long it has
// been running. Without a deadline and without cancellation Drain waits for ever.
//
// A call after the first one waits for the first one's result, or returns its own
// context's error if that ends earlier.
func (t *Tracker) Drain(ctx context.Context) error {
	t.setup()
	if t.refuse() {
		t.err = t.wait(ctx)
		close(t.drained)
	}
	select {
	case <-t.drained:
	case <-ctx.Done():
		select {
		case <-t.drained: // both: the result is worth more
		default:
			return ctx.Err()
		}
	}
	return t.err
}

func (t *Tracker) setup() {
	t.once.Do(func() {
		t.draining, t.idle, t.drained = make(chan struct{}), make(chan struct{}), make(chan struct{})
		t.work = make(map[*piece]struct{})
	})
}

// add takes a slot for p, or reports false when it is too late for one.
func (t *Tracker) add(p *piece) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.refuses {
		t.work[p] = struct{}{}
	}
	return !t.refuses
}

// remove gives p's slot back, if p has one. It ends p's context first: when Drain
// returns, all that derives from that context has been told.
func (t *Tracker) remove(p *piece) {
	p.cancel(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.work[p]; !ok {
		return
	}
	delete(t.work, p)
	if t.refuses && len(t.work) == 0 {
		close(t.idle)
	}
}

// refuse makes Start refuse work, and reports whether this is the first call.
func (t *Tracker) refuse() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuses {
		return false
	}
	t.refuses = true
	close(t.draining)
	if len(t.work) == 0 {
		close(t.idle)
	}
	return true
}

// wait returns when no work is left, or when ctx ends.
func (t *Tracker) wait(ctx context.Context) error {
	var late <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok {
		given := max(time.Until(deadline), 0)
		late = time.After(given - min(CancelMargin, given/4))
	}
	for {
		select {
		case <-t.idle:
			return nil
		case <-late:
			t.cancelWork()
		case <-ctx.Done():
			return cutError(t.cancelWork())
		}
	}
}

// cancelWork cancels the contexts of the work in flight, and returns a line for each
// piece of it, sorted.
func (t *Tracker) cancelWork() (lines []string) {
	t.mu.Lock()
	work := maps.Clone(t.work)
	t.mu.Unlock()
	now := time.Now()
	for p := range work {
		p.cancel(ErrCut)
		lines = append(lines, fmt.Sprintf("%s (running for %v)", p.name, now.Sub(p.start).Round(time.Millisecond)))
	}
	slices.Sort(lines)
	return lines
}
