// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// All passes when every one of checks does. See [AtLeast].
func All(checks ...func(context.Context) error) func(context.Context) error {
	return AtLeast(len(checks), checks...)
}

// Any passes when one of checks does. See [AtLeast].
func Any(checks ...func(context.Context) error) func(context.Context) error {
	return AtLeast(1, checks...)
}

// AtLeast passes when n of checks do: two of three brokers, say. They run side by
// side, and the verdict is given as soon as it is certain; the context of those
// that still run then ends, and they are not waited for. Too few, or the end of
// the context, is an error that joins those there are.
//
// A check that does not return costs one goroutine, as in a registry: while it
// runs it counts as failing and is not called again. So calls of what AtLeast
// returns should not overlap, and those of a registry do not. What a check
// panics with, or that it has called [runtime.Goexit], AtLeast panics with if it is
// still there, and drops otherwise: with an error that wraps it, if it is one, and
// whose text goes on with the stack of the check. The errors that are joined are in
// the order of checks.
//
// If n is not from 1 to the number of checks, or if one is nil, every call is an error.
func AtLeast(n int, checks ...func(context.Context) error) func(context.Context) error {
	if n < 1 || n > len(checks) {
		return invalid(fmt.Errorf("checks: at least %d of %d have to pass, which says nothing", n, len(checks)))
	}
	q := &quorum{need: n}
	for i, check := range checks {
		if check == nil {
			return invalid(fmt.Errorf("checks: the check at index %d of %d is nil", i, len(checks)))
		}
		q.members = append(q.members, &member{check: check})
	}
	return q.run
}

// invalid returns a check that cannot pass. A nil one would be none at all to a component.
func invalid(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

var errRunning = errors.New("an earlier run has not returned")

// A quorum is a number of members of which some have to pass.
type quorum struct {
	members []*member
	need    int
}

func (q *quorum) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, len(q.members)) // so that nobody waits to send
	for i, m := range q.members {
		m.start(ctx, i, results)
	}
	errs := make([]error, len(q.members)) // in the order of the members
	for passed, failed := 0, 0; ; {
		r, ok := next(ctx, results)
		switch {
		case !ok:
			return q.short(passed, append(errs, ctx.Err()))
		case r.panic != nil:
			panic(r.panic)
		case r.err != nil:
			errs[r.member] = r.err
			failed++
		default:
			passed++
		}
		switch {
		case passed == q.need:
			return nil
		case failed > len(q.members)-q.need:
			return q.short(passed, errs)
		}
	}
}

// next returns the next result, and none if ctx has ended before there is one. What
// has come by then counts.
func next(ctx context.Context, results <-chan result) (r result, ok bool) {
	select {
	case r = <-results:
		return r, true
	default:
	}
	select {
	case r = <-results:
		return r, true
	case <-ctx.Done():
		return result{}, false
	}
}

// short is the error of too few.
func (q *quorum) short(passed int, errs []error) error {
	return fmt.Errorf("%d of %d pass, %d must: %w", passed, len(q.members), q.need, errors.Join(errs...))
}

// A member is a check that runs once at a time.
type member struct {
	check func(context.Context) error

	mu      sync.Mutex
	running bool
}

// A result is how a run of a member has ended.
type result struct {
	member int
	err    error
	panic  *memberPanic // or that the check has called runtime.Goexit
}

// A memberPanic is a panic with the stack that it had in the goroutine of the member,
// since the one in which AtLeast panics says nothing of where it comes from.
type memberPanic struct {
	value any
	stack string
}

func (p *memberPanic) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the error that the member has panicked with, if it is one.
func (p *memberPanic) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// start starts a run, whose result comes in results.
func (m *member) start(ctx context.Context, i int, results chan<- result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		results <- result{member: i, err: errRunning}
		return
	}
	m.running = true
	go m.run(ctx, i, results)
}

func (m *member) run(ctx context.Context, i int, results chan<- result) {
	r := result{member: i}
	returned := false
	defer func() {
		if !returned {
			r.panic = asPanic(recover())
		}
		m.mu.Lock()
		m.running = false
		m.mu.Unlock()
		results <- r
	}()
	r.err = m.check(ctx)
	returned = true
}

// asPanic returns what a member has panicked with, with its stack, to be called where
// it is recovered. One that was a member's of a member has its own. Nil is that of
// runtime.Goexit.
func asPanic(value any) *memberPanic {
	if p, ok := value.(*memberPanic); ok {
		return p
	}
	if value == nil {
		value = "runtime.Goexit called"
	}
	return &memberPanic{value, string(debug.Stack())}
}
