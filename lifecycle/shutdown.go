// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// initiate is T0. The function that it returns releases what it holds.
func (p *process) initiate(reason error) (cancel func()) {
	p.probes.Shutdown()
	p.t0 = time.Now()
	// Whatever happens from here on, a caller that may exit the process learns
	// of it in time.
	timer := time.AfterFunc(p.budget.flushed()+p.budget.reserve/4, func() { close(p.overdue) })
	p.instant("ShutdownInitiated", "reason", reason, "up", p.t0.Sub(p.began), "deadline_after", p.budget.total())
	return func() { timer.Stop() }
}

// drain takes every server that has started off the air: side by side, but a
// server on which others depend after those, since they still use it. A start
// that was interrupted may still come to its end here.
func (p *process) drain(ctx context.Context) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), p.t0.Add(p.budget.drain()))
	defer cancel()
	var group sync.WaitGroup
	for _, part := range p.parts {
		group.Go(func() {
			defer close(part.drainDone)
			for _, d := range part.dependants {
				<-d.drainDone
			}
			if part.Server != nil && part.hasStarted(ctx) {
				p.drainPart(ctx, part)
			}
		})
	}
	group.Wait()
}

// drainPart drains one server, in its share of the time that is left. The floor
// counts from T0 in any case: since then no balancer sends on purpose.
func (p *process) drainPart(ctx context.Context, part *part) {
	part.set("drain")
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(deadline), 0)/time.Duration(part.serversBelow+1))
	defer cancel()
	if part.Server.Floor = max(part.Server.Floor, 0) - time.Since(p.t0); part.Server.Floor <= 0 {
		part.Server.Floor = -1 // none, where zero would be the default
	}
	var group sync.WaitGroup
	group.Go(func() {
		<-part.Server.AcceptWindowClosed() // Drain closes it in every case
		p.instant("AcceptWindowClosed", "component", part.Name, "after", time.Since(p.t0))
	})
	report, err := part.Server.Drain(ctx)
	group.Wait()
	if err != nil {
		p.leftBehind(part, "drain", fmt.Errorf("%w: %w", ErrDeadline, err))
	}
	if report.Cancelled > 0 {
		p.log.Warn("requests were cancelled before the deadline", "component", part.Name, "requests", report.Cancelled)
	}
	p.instant("Drained", "component", part.Name, "after", time.Since(p.t0), "report", report)
}

// hasStarted waits for the end of the part's start, and reports whether it has
// succeeded.
func (p *part) hasStarted(ctx context.Context) bool {
	select {
	case <-p.startDone:
	case <-ctx.Done():
	}
	return isClosed(p.startDone) && p.startErr == nil
}

// stop stops the parts, each once everything that depends on it has stopped.
func (p *process) stop(ctx context.Context) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), p.t0.Add(p.budget.total()))
	defer cancel()
	var group sync.WaitGroup
	for _, part := range p.parts {
		group.Go(func() { p.stopPart(ctx, part) })
	}
	group.Wait()
	p.instant("ComponentsStopped", "after", time.Since(p.t0))
}

// stopPart stops one part in its share of what is left until the deadline: the
// chain of dependencies below it has as many shares as it has links.
func (p *process) stopPart(ctx context.Context, part *part) {
	defer close(part.stopDone)
	for _, d := range part.dependants {
		<-d.stopDone
	}
	deadline, _ := ctx.Deadline()
	share := max(time.Until(deadline), 0) / time.Duration(part.height+1)
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()

	if !part.hasStarted(ctx) {
		if !isClosed(part.startDone) {
			p.leftBehind(part, "start", ErrDeadline)
		}
		return
	}
	begin := time.Now()
	part.cancelRun()
	p.stopFunc(ctx, part)
	select {
	case <-part.runDone:
	case <-ctx.Done():
		if !isClosed(part.runDone) {
			p.leftBehind(part, "run", ErrDeadline)
			return
		}
	}
	p.log.Debug("component stopped", "component", part.Name, "took", time.Since(begin))
}

// stopFunc calls the part's Stop.
func (p *process) stopFunc(ctx context.Context, part *part) {
	if part.Stop == nil {
		return
	}
	deadline, _ := ctx.Deadline()
	switch err := await(part.spawn(ctx, "stop", part.Stop), deadline); {
	case err == ErrDeadline:
		p.leftBehind(part, "stop", err)
	case err != nil:
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrDeadline, err)
		}
		p.fail(part.fail("stop", err))
		p.log.Error("component failed to stop", "component", part.Name, "error", err)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// leftBehind notes that a part did not come to its end in time, and logs the
// stacks of its goroutines.
func (p *process) leftBehind(part *part, op string, err error) {
	p.fail(part.fail(op, err))
	p.log.Error("component left behind at its deadline",
		"component", part.Name, "op", op, "error", err, "after", time.Since(p.t0), "stacks", stacks(part.Name))
}

// flush calls the App's Flush, within the reserve.
func (p *process) flush(ctx context.Context) {
	if p.app.Flush == nil {
		return
	}
	deadline := p.t0.Add(p.budget.flushed())
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	flush := newPart(Component{Name: "flush"}, 0)
	switch err := await(flush.spawn(ctx, "flush", p.app.Flush), deadline); {
	case err == ErrDeadline:
		p.leftBehind(flush, "stop", err)
	case err != nil:
		p.fail(flush.fail("stop", err))
		p.log.Error("flush failed", "error", err)
	default:
		p.instant("Flushed", "after", time.Since(p.t0))
	}
}

// finish logs the end and returns all errors.
func (p *process) finish() error {
	broken := p.probes.Broken()
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		p.fail(&Error{Component: name, Op: "check", Err: errors.New(broken[name])})
	}
	p.mu.Lock()
	err := errors.Join(p.errs...)
	p.mu.Unlock()
	args := []any{"after", time.Since(p.t0), "grace_period", p.budget.grace, "exit_code", ExitCode(err)}
	if err != nil {
		args = append(args, "error", err)
	}
	p.instant("Exited", args...)
	return err
}

// pending returns what has not stopped yet, as "http (drain), db (run)".
func (p *process) pending() string {
	var names []string
	for _, part := range p.parts {
		if op := part.doing(); op != "" {
			names = append(names, fmt.Sprintf("%s (%s)", part.Name, op))
		}
	}
	return strings.Join(names, ", ")
}
