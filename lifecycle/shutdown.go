// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/drains"
)

// initiate is T0. The function that it returns releases what it holds.
func (p *process) initiate(reason error) (cancel func()) {
	p.mu.Lock()
	p.t0 = time.Now()
	p.mu.Unlock()
	// Whatever happens from here on, a caller that may exit the process learns
	// of it in time.
	timer := time.AfterFunc(p.budget.overdue(), func() { close(p.overdue) })
	p.probes.Shutdown()
	text := textOf(reason)
	p.mu.Lock()
	p.reason = text
	p.mu.Unlock()
	up := p.t0.Sub(p.began)
	p.log.Info("shutdown initiated, readiness is off",
		"instant", "ShutdownInitiated", "reason", p.reason, "up", up, "deadline_after", p.budget.total())
	p.tell(Event{Instant: "ShutdownInitiated", Took: up, Reason: p.reason})
	return func() { timer.Stop() }
}

// drain takes every server that has started off the air, and what else takes work
// in: side by side, but one on which others depend after those, since they still
// use it. A start that was interrupted may still come to its end here.
func (p *process) drain(ctx context.Context) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), p.t0.Add(p.budget.drain()))
	defer cancel()
	var group, windows sync.WaitGroup
	parts := p.draining()
	for _, part := range parts {
		part.drainDone = make(chan struct{})
	}
	for _, part := range parts {
		group.Go(func() {
			defer close(part.drainDone)
			for _, d := range part.dependants {
				<-d.drainDone
			}
			if !part.drains() {
				return
			}
			defer part.closeWindow()
			begin := time.Now()
			deadline := begin.Add(p.share(part, begin.Sub(p.t0)))
			if p.awaitStart(part, deadline) {
				p.drainPart(ctx, part, deadline)
			}
		})
		if part.Server != nil {
			windows.Go(func() { <-part.windowDone })
		}
	}
	windows.Wait()
	p.probes.AcceptWindowClosed()
	p.phaseOver(acceptPhase)
	group.Wait()
	p.phaseOver(drainPhase)
}

// draining returns the parts that take part in the drain: all, if there is one
// among them that has to be drained.
func (p *process) draining() []*part {
	for _, part := range p.parts {
		if part.drains() {
			return p.parts
		}
	}
	return nil
}

// drainSlack is how much later than its deadline the drain of a server may return, which
// has much to do at the end of it, before it is left behind: a small part of what the
// stop functions have for their own.
func (b budget) drainSlack() time.Duration { return min(200*time.Millisecond, b.stop/10) }

// share returns how long a part's drain may take that begins that long after T0:
// the rest of its floor, which no part below can need again since every floor counts
// from T0, and an equal part of what is left to it and the chain below.
func (p *process) share(part *part, begin time.Duration) time.Duration {
	left := max(p.budget.drain()-begin, 0)
	var own time.Duration
	if part.Server != nil {
		floor := max(p.floorOf(part.Component)-begin, 0)
		own = min(floor+min(drain.CancelMargin, floor/3), left) // see windowOf
	}
	return own + (left-own)/time.Duration(part.drainsBelow+1)
}

// drainPart drains one part, until the end of its share.
func (p *process) drainPart(ctx context.Context, part *part, deadline time.Time) {
	begin := time.Now()
	if part.Server != nil {
		p.drainServer(ctx, part, max(deadline.Sub(begin), 0))
	} else if p.call(part.whileItRuns(ctx), part, "drain", part.Drain, deadline) {
		p.instant(Event{Instant: "Drained", Component: part.Name, Took: time.Since(p.t0)})
	}
	took := time.Since(begin)
	part.note(func(r *ComponentReport) { r.Drain = took })
}

// whileItRuns returns a context that ends when the part's Run fails: nobody is left
// to finish the work, and Drain says what is lost.
func (p *part) whileItRuns(ctx context.Context) context.Context {
	if p.Run == nil {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	failed := func() {
		if p.runErr != nil {
			cancel(p.runErr)
		}
	}
	if isClosed(p.runDone) {
		failed()
	} else {
		go func() {
			select {
			case <-p.runDone:
				failed()
			case <-ctx.Done():
			}
		}()
	}
	return ctx
}

// drainServer drains a server. The floor counts from T0 in any case: since then no
// balancer sends on purpose.
func (p *process) drainServer(ctx context.Context, part *part, share time.Duration) {
	begin := time.Now()
	last := begin.Add(share + p.budget.drainSlack())
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	select { // or the floor would be none, and what waits to be accepted reset
	case <-drains.Serving(part.Server):
	case <-part.runDone:
	case <-ctx.Done():
	}
	part.draining.Store(true)
	ctx = drains.WithFloor(ctx, max(p.floorOf(part.Component)-begin.Sub(p.t0), 0))
	var report drain.Report
	over := make(chan struct{})
	done := part.spawn(ctx, "drain", func(ctx context.Context) (err error) {
		defer close(over)
		report, err = p.drainServerBy(part.Server, ctx)
		return err
	})
	select {
	case <-part.Server.AcceptWindowClosed():
	case <-over:
	case <-time.After(time.Until(last)):
	}
	if isClosed(part.Server.AcceptWindowClosed()) {
		p.instant(Event{Instant: "AcceptWindowClosed", Component: part.Name, Took: time.Since(p.t0)})
	}
	part.closeWindow()
	err, came := awaited(p, done, last, lead(share))
	switch {
	case came && err != nil && !of(err).late:
		p.log.Error("component failed to drain", "component", part.Name, "error", err)
		p.failed(part, part.fail("drain", err))
	case !came || err != nil:
		p.leftBehind(part, "drain", err)
	}
	part.lateDrain = func() {
		if err, came := receive(done, time.Now()); came && isClosed(over) {
			p.log.Error("drain of a component that was left behind is over", "component", part.Name, "error", err, "report", report)
			p.saidLate(part, "drain", err)
			part.note(func(r *ComponentReport) { r.Drained = &report })
		}
	}
	if !isClosed(over) {
		return
	}
	if came {
		part.lateDrain = nil
	}
	if report.Cancelled > 0 {
		p.log.Warn("requests were cancelled before the deadline", "component", part.Name, "requests", report.Cancelled)
	}
	part.note(func(r *ComponentReport) { r.Drained = &report })
	p.instant(Event{Instant: "Drained", Component: part.Name, Took: time.Since(p.t0), Drain: &report}, "report", report)
}

// awaitStart waits for the end of the part's start, and reports whether it has
// succeeded. At the deadline the part is left behind.
func (p *process) awaitStart(part *part, deadline time.Time) bool {
	if part.fate.CompareAndSwap(waiting, abandoned) || part.fate.Load() == abandoned {
		return false
	}
	if _, ok := awaited(p, part.startDone, deadline, lead(time.Until(deadline))); ok {
		return part.startErr == nil
	}
	if part.fate.CompareAndSwap(starting, abandoned) {
		p.leftBehind(part, "start", nil)
		return false
	}
	<-part.startDone // it has started at this very moment
	return true
}

// stop stops the parts, each once everything that depends on it has stopped.
func (p *process) stop(ctx context.Context) {
	s := &stopping{process: p, ctx: context.WithoutCancel(ctx), over: make(chan struct{})}
	s.left.Store(int32(len(p.parts)))
	if len(p.parts) == 0 {
		close(s.over)
	}
	for _, part := range p.parts {
		if len(part.dependants) == 0 {
			go s.from(part)
		}
	}
	<-s.over
	p.phaseOver(componentsPhase)
	p.instant(Event{Instant: "ComponentsStopped", Took: time.Since(p.t0)})
}

// A stopping is the stop of all parts.
type stopping struct {
	*process
	ctx  context.Context
	left atomic.Int32  // how many parts are not over
	over chan struct{} // closed when all are
}

// from stops a part, and then those that have waited for it.
func (s *stopping) from(p *part) {
	for p != nil && s.stopPart(p) {
		p = s.after(p)
	}
}

// after is what comes once a part has stopped. It returns the part that can be stopped
// next, if there is one.
func (s *stopping) after(p *part) *part {
	p.set("")
	next := p.stopNext(func(d *part) { go s.from(d) })
	if s.left.Add(-1) == 0 {
		close(s.over)
	}
	return next
}

// stopPart stops one part in its share of what is left until the deadline: the
// chain of dependencies below it has as many shares as it has links. It reports
// whether the goroutine can go on; if not, another one does in its place.
func (s *stopping) stopPart(part *part) bool {
	begin := time.Now()
	left := s.t0.Add(s.budget.total()).Sub(begin)
	deadline := begin.Add(max(left, 0) / time.Duration(part.height+1))
	if !s.awaitStart(part, deadline) {
		part.settle(notStarted)
		return true
	}
	begin = time.Now()
	if part.Run != nil {
		part.cancelRun()
	}
	ended := func() {
		if _, ok := awaited(s.process, part.runDone, deadline, lead(deadline.Sub(begin))); !ok {
			s.leftBehind(part, "run", nil)
		}
		s.stopped(part, time.Since(begin))
	}
	if part.Stop != nil {
		instead := func() { ended(); s.from(s.after(part)) }
		if _, here := s.callHere(s.ctx, part, "stop", part.Stop, deadline, instead); !here {
			return false
		}
	}
	ended()
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// flush calls the App's Flush.
func (p *process) flush(ctx context.Context) {
	defer p.phaseOver(flushPhase)
	if p.app.Flush == nil {
		return
	}
	defer p.flushing.set("")
	if p.call(context.WithoutCancel(ctx), p.flushing, "stop", p.app.Flush, p.t0.Add(p.budget.flushBy(time.Since(p.t0)))) {
		p.instant(Event{Instant: "Flushed", Took: time.Since(p.t0)})
	}
}

// finish tells the end and returns all errors.
func (p *process) finish() error {
	p.lateDrains()
	p.lateStacks()
	panics := p.probes.Panics()
	for _, name := range slices.Sorted(maps.Keys(panics)) {
		p.fail(&Error{Component: name, Op: "check", Err: errors.New(panics[name])})
	}
	p.phaseOver(exitPhase)
	p.mu.Lock()
	err := errors.Join(p.errs...)
	p.mu.Unlock()
	r := p.report(ExitCode(err))
	p.app.setReport(r)
	args := []any{"instant", "Exited", "after", r.Took, "grace_period", p.budget.grace, "exit_code", r.ExitStatus, "report", r.String()}
	if err != nil {
		args = append(args, "error", err)
	}
	p.log.Info("shutdown over, probe listener closed", args...)
	p.tell(Event{Instant: "Exited", Took: r.Took, Err: err, Report: r})
	p.dismiss()
	return err
}

// pending returns the parts that have begun and not stopped yet, and what each of
// them is doing, as "http (drain)".
func (p *process) pending() (parts []*part, text []string) {
	for _, part := range append(p.parts[:len(p.parts):len(p.parts)], p.flushing) {
		if op := part.doing(); op != "" {
			parts = append(parts, part)
			text = append(text, fmt.Sprintf("%s (%s)", part.Name, op))
		}
	}
	return parts, text
}
