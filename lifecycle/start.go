// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"runtime/pprof"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// start starts the parts, each once what it depends on has started. It returns
// nil when all have, and otherwise why the shutdown has to begin.
func (p *process) start(ctx context.Context) (reason error) {
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(p.parts))
	for _, part := range p.parts {
		if len(part.dependencies) == 0 {
			go p.startPart(starting, part, results)
		}
	}
	for range p.parts {
		select {
		case err := <-results:
			if err != nil {
				return err
			}
		case part := <-p.ended:
			return p.endedBy(part)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil { // parts that were interrupted have said so by nil
		return context.Cause(ctx)
	}
	p.probes.Started()
	p.instant(Event{Instant: "Started", Took: time.Since(p.began)})
	return nil
}

// startPart starts one part and its Run, sends the error on results, and then starts
// those that have waited for it, unless the process has been told to stop.
func (p *process) startPart(ctx context.Context, part *part, results chan<- error) {
	if ctx.Err() != nil || !part.fate.CompareAndSwap(waiting, starting) {
		return
	}
	pprof.SetGoroutineLabels(ctx) // not those of the part that was waited for
	begin := time.Now()
	part.do(ctx, "start", part.Start, func(err error) {
		err = p.startOver(ctx, part, err, time.Since(begin))
		close(part.startDone)
		results <- err
		if err != nil || part.startErr != nil {
			return
		}
		for _, d := range part.dependants {
			if d.toStart.Add(-1) == 0 {
				go p.startPart(ctx, d, results)
			}
		}
	})
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
		protect(ctx, part.undo, func(error) {})
		return nil // said when it was left behind
	}
	part.startErr = nil
	p.started(part, took)
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
	if part.Run == nil {
		part.set("run")
		return
	}
	part.runCtx, part.cancelRun = context.WithCancel(context.WithoutCancel(ctx))
	go part.do(part.runCtx, "run", part.Run, func(err error) {
		if part.runCtx.Err() != nil && of(err).cancelled {
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
