// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"errors"
	"fmt"
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
// panics with, AtLeast panics with if it is still there, and drops otherwise.
//
// AtLeast returns nil, which a registry refuses, if n is not from 1 to the number
// of checks, or if one is nil.
func AtLeast(n int, checks ...func(context.Context) error) func(context.Context) error {
	if n < 1 || n > len(checks) {
		return nil
	}
	q := &quorum{need: n}
	for _, check := range checks {
		if check == nil {
			return nil
		}
		q.members = append(q.members, &member{check: check})
	}
	return q.run
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
	for _, m := range q.members {
		m.start(ctx, results)
	}
	passed, errs := 0, []error(nil)
	for passed < q.need && len(errs) <= len(q.members)-q.need {
		select {
		case r := <-results:
			switch {
			case r.panicked:
				panic(r.value)
			case r.err != nil:
				errs = append(errs, r.err)
			default:
				passed++
			}
		case <-ctx.Done():
			return q.short(passed, append(errs, ctx.Err()))
		}
	}
	if passed >= q.need {
		return nil
	}
	return q.short(passed, errs)
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

// A result is how a run has ended.
type result struct {
	err      error
	panicked bool // with value; or the check has called runtime.Goexit
	value    any
}

// start starts a run, whose result comes in results.
func (m *member) start(ctx context.Context, results chan<- result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		results <- result{err: errRunning}
		return
	}
	m.running = true
	go m.run(ctx, results)
}

func (m *member) run(ctx context.Context, results chan<- result) {
	r := result{panicked: true, value: "runtime.Goexit called"}
	defer func() {
		if v := recover(); v != nil {
			r.value = v
		}
		m.mu.Lock()
		m.running = false
		m.mu.Unlock()
		results <- r
	}()
	r.err = m.check(ctx)
	r.panicked = false
}
