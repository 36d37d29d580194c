// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// lastLook is how long before its share is over the context of a function ends, or
// a tenth of the share if that is less: what obeys it can still say how far it got.
const lastLook = 50 * time.Millisecond

// call calls one of the part's functions and waits for it, until the deadline at
// the latest. It reports whether that has succeeded.
func (p *process) call(ctx context.Context, part *part, op string, f func(context.Context) error, deadline time.Time) bool {
	result := make(chan bool, 1)
	go func() {
		if ok, here := p.callHere(ctx, part, op, f, deadline, func() { result <- false }); here {
			result <- ok
		}
	}()
	return <-result
}

// callHere calls one of the part's functions in this goroutine, and reports whether that
// has succeeded. If the function does not return by the deadline it is left behind, and
// this goroutine with it: another one calls instead, and here is false when and if the
// function returns after all. A function that leaves its goroutine has failed; then
// instead is called, too.
func (p *process) callHere(ctx context.Context, part *part, op string, f func(context.Context) error, deadline time.Time, instead func()) (ok, here bool) {
	given := max(time.Until(deadline), 0)
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-min(lastLook, given/10)))
	defer cancel()
	var over atomic.Bool // set by whoever goes on
	watch := time.AfterFunc(given-lead(given), func() {
		if over.Load() {
			return
		}
		p.profiler.begin(p.phase())
		time.AfterFunc(time.Until(deadline), func() {
			if over.CompareAndSwap(false, true) {
				p.leftBehind(part, op, nil)
				instead()
			}
		})
	})
	part.set(op)
	part.do(ctx, f, func(err error) {
		if !over.CompareAndSwap(false, true) {
			return
		}
		watch.Stop()
		ok, here = p.judge(ctx, part, op, err), true
		if err == errGoexit {
			go instead()
		}
	})
	return ok, here
}

// judge notes the error of a function that has returned in time, and reports whether the
// function has succeeded.
func (p *process) judge(ctx context.Context, part *part, op string, err error) bool {
	if err == nil {
		return true
	}
	cancelled := ctx.Err() == context.Canceled // since its Run has failed
	if cancelled && of(err).cancelled {
		return false // which is no error of its own
	}
	failure := part.fail(op, err)
	if ctx.Err() != nil && !cancelled && of(err).late {
		failure = part.overdue(op, err)
	}
	p.log.Error("component failed to "+op, "component", part.Name, "error", errors.Unwrap(failure))
	p.failed(part, failure)
	return false
}
