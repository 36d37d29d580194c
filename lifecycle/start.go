// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// start starts the parts, each once what it depends on has started. It returns
// nil when all have, and otherwise why the shutdown has to begin.
func (p *process) start(ctx context.Context) (reason error) {
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &startup{process: p, over: make(chan struct{}), failed: make(chan error, 1)}
	s.left.Store(int32(len(p.parts)))
	if len(p.parts) == 0 {
		close(s.over)
	}
	for _, part := range p.parts {
		if len(part.dependencies) == 0 {
			go s.from(starting, part)
		}
	}
	if reason := s.wait(ctx); reason != nil {
		return reason
	}
	p.probes.Started()
	p.instant(Event{Instant: "Started", Took: time.Since(p.began)})
	return nil
}

// A startup is the start of all parts.
type startup struct {
	*process
	left   atomic.Int32  // how many starts are not over
	over   chan struct{} // closed when all are
	failed chan error    // the first one that did
}

// wait waits until all starts are over, or the shutdown has to begin, and returns why.
func (s *startup) wait(ctx context.Context) (reason error) {
	late := time.NewTimer(lateStart)
	defer late.Stop()
	for {
		select {
		case <-s.over:
			return s.reason(ctx)
		case err := <-s.failed:
			return err
		case part := <-s.ended:
			return s.endedBy(part)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			late.Reset(s.nameLate())
		}
	}
}

// reason returns why the shutdown has to begin though all starts are over, if it has to.
func (s *startup) reason(ctx context.Context) error {
	select {
	case err := <-s.failed:
		return err
	case part := <-s.ended:
		return s.endedBy(part)
	default:
		return context.Cause(ctx) // a start that was interrupted has not failed
	}
}

// from starts a part, and then those that have waited for it.
func (s *startup) from(ctx context.Context, p *part) {
	for p != nil && s.startPart(ctx, p) {
		p = p.startNext(func(d *part) { go s.from(ctx, d) })
	}
}

// startPart starts one part and its Run, unless the process has been told to stop. It
// reports whether those may start that depend on it.
func (s *startup) startPart(ctx context.Context, part *part) (started bool) {
	if ctx.Err() != nil || !part.fate.CompareAndSwap(waiting, starting) {
		return false
	}
	begin := part.startBegins()
	part.set("start")
	part.do(ctx, part.Start, func(err error) {
		part.startEnds()
		err = s.startOver(ctx, part, err, time.Since(begin))
		close(part.startDone)
		started = err == nil && part.startErr == nil
		if err != nil {
			select {
			case s.failed <- err:
			default: // it is not the first
			}
		}
		if s.left.Add(-1) == 0 {
			close(s.over)
		}
	})
	return started
}

// startOver is the end of a part's start, of which err is the result.
func (p *process) startOver(ctx context.Context, part *part, err error, took time.Duration) error {
	if err != nil {
		if interrupted(err) {
			p.log.Warn("start interrupted", "component", part.Name, "error", err)
			return nil // told to stop, and did
		}
		return p.failStart(part, err)
	}
	if !part.fate.CompareAndSwap(starting, hasStarted) {
		protect(ctx, part.undo)
		return nil // said when it was left behind
	}
	part.startErr = nil
	p.started(part, took)
	if part.listensOn != "" {
		p.log.Info("listening", "component", part.Name, "address", part.listensOn)
	}
	p.runPart(ctx, part)
	if err := p.register(part); err != nil {
		return p.failStart(part, err)
	}
	return nil
}

// interrupted reports whether a call that has returned err has been told to stop, and
// has nothing else to say.
func interrupted(err error) bool { return of(err).returned && of(err).told }

func (p *process) failStart(part *part, err error) error {
	p.log.Error("component failed to start", "component", part.Name, "error", err)
	err = fmt.Errorf("%w: %w", ErrStart, part.fail("start", err))
	p.failed(part, err)
	return err
}

// runPart calls the part's Run, in a context that outlives ctx: it ends when it
// is the part's turn to stop.
func (p *process) runPart(ctx context.Context, part *part) {
	part.set("run") // here, or it might say so when it is told to stop already
	if part.Run == nil {
		return
	}
	part.runCtx, part.cancelRun = context.WithCancel(context.WithoutCancel(ctx))
	go part.do(part.runCtx, part.Run, func(err error) {
		if part.runCtx.Err() != nil && (of(err).cancelled || of(err).closed) {
			err = nil // told to stop, and did
		}
		part.runErr = part.fail("run", err)
		if err != nil {
			p.log.Error("component failed", "component", part.Name, "error", err)
			p.failed(part, part.runErr)
		}
		close(part.runDone)
		p.ended <- part
	})
}

// register adds the readiness check of a part that has started. Before that
// there is nothing to check, and a check may not be able to bear it.
func (p *process) register(part *part) error {
	if part.Ready == nil {
		return nil
	}
	return p.probes.AddReadiness(probes.Check{Name: part.Name, Func: part.Ready, DependsOn: part.checksBelow()})
}
