// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/probes"
)

// A process is one run of an App. It is built whole before anything starts.
type process struct {
	app       *App
	log       *slog.Logger // writes to story
	story     *story
	observers []observer
	notifier  *notifier // nil if systemd is not to be told; set before run
	profiler  *profiler
	budget    budget
	plan      Plan
	probes    *probes.Registry
	parts     []*part
	flushing  *part // stands for App.Flush, and is none of the parts

	listenProbes  func(ctx context.Context, network, address string) (net.Listener, error)
	drainServerBy func(*drain.Server, context.Context) (drain.Report, error)

	// ended receives the first part whose Run returns; its buffer is as large
	// as the number of parts, so that none of them waits.
	ended chan *part

	overdue chan struct{} // closed when the grace period is all but over

	mu     sync.Mutex // guards what follows
	began  time.Time  // set by run
	t0     time.Time  // set by initiate
	reason string     // why the shutdown began; set by initiate
	phases []PhaseReport
	errs   []error
}

// newProcess makes the one process of an App. Its error wraps ErrConfig and names
// all that is wrong; nothing was started then.
func newProcess(a *App) (*process, error) {
	if a == nil {
		return nil, fmt.Errorf("%w: the App is nil", ErrConfig)
	}
	if a.setRan(true) {
		return nil, fmt.Errorf("%w: the App has been run before", ErrConfig)
	}
	p, err := prepare(a)
	if err != nil {
		a.setRan(false)
	}
	return p, err
}

// prepare checks the configuration and builds the process, and changes nothing.
func prepare(a *App) (*process, error) {
	if a == nil {
		return nil, fmt.Errorf("%w: the App is nil", ErrConfig)
	}
	p := &process{
		app:      a,
		profiler: newProfiler(),
		probes:   a.Probes,
		ended:    make(chan *part, len(a.Components)),
		overdue:  make(chan struct{}),

		listenProbes:  new(net.ListenConfig).Listen,
		drainServerBy: (*drain.Server).Drain,
	}
	logger := a.Logger
	if logger == nil {
		logger = slog.Default()
	}
	p.story = newStory(logger.Handler())
	p.log = slog.New(p.story)
	if p.probes == nil {
		p.probes = &probes.Registry{Logger: p.log}
	}
	var err error
	if p.budget, err = newBudget(a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.build()
	p.plan = p.newPlan()
	return p, nil
}

// build makes the parts and ties them together, dependencies first.
func (p *process) build() {
	p.flushing = newPart(Component{Name: flushName, Stop: p.app.Flush}, p.profiler.app)
	p.parts = make([]*part, 0, len(p.app.Components))
	byName := make(map[string]*part, len(p.app.Components))
	for _, c := range p.app.Components {
		part := newPart(c, p.profiler.app)
		byName[c.Name] = part
		p.parts = append(p.parts, part)
	}
	for _, part := range p.parts {
		part.dependencies = slices.Grow(part.dependencies, len(part.DependsOn))
		for _, name := range part.DependsOn {
			d := byName[name]
			part.dependencies = append(part.dependencies, d)
			d.dependants = append(d.dependants, part)
		}
	}
	for _, part := range p.parts {
		part.measure()
		part.toStart.Store(int32(len(part.dependencies)))
		part.toStop.Store(int32(len(part.dependants)))
	}
}

// measure sets the lengths of the chains below the part.
func (p *part) measure() {
	if p.height > 0 {
		return // done
	}
	for _, d := range p.dependencies {
		d.measure()
		p.height = max(p.height, d.height+1)
		below := d.drainsBelow
		if d.drains() {
			below++
		}
		p.drainsBelow = max(p.drainsBelow, below)
	}
}

// run is the life of the process, a line for each part of it.
func (p *process) run(ctx context.Context) error {
	ctx, release := p.app.shutdownContext(ctx)
	defer release()
	p.begin()
	closeProbes, reason := p.openProbes(ctx)
	if reason == nil {
		reason = p.start(ctx)
	}
	if reason == nil {
		reason = p.wait(ctx)
	}
	cancel := p.initiate(reason)
	p.drain(ctx)
	p.stop(ctx)
	p.flush(ctx)
	closeProbes()
	cancel()
	return p.finish()
}

func (p *process) begin() {
	p.mu.Lock()
	p.began = time.Now()
	p.mu.Unlock()
	p.observe()
	p.log.Info("starting", "components", len(p.parts),
		"grace_period", p.budget.grace, "deadline_after", p.budget.total(), "floor", p.budget.floor)
	p.tell(Event{Instant: "Starting"})
}

// wait returns why the shutdown has to begin.
func (p *process) wait(ctx context.Context) error {
	select {
	case part := <-p.ended:
		return p.endedBy(part)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *process) endedBy(part *part) error {
	if part.runErr != nil {
		return part.runErr
	}
	return fmt.Errorf("component %s ended by itself", part.Name)
}

// fail notes an error for the end.
func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

// instant tells the log and the observers that a named instant has come.
func (p *process) instant(e Event, args ...any) {
	attrs := []any{"instant", e.Instant}
	if e.Component != "" {
		attrs = append(attrs, "component", e.Component)
	}
	key := "after" // T0
	if e.Instant == "Started" {
		key = "took"
	}
	p.log.Info(instants[e.Instant], append(append(attrs, key, e.Took), args...)...)
	p.tell(e)
}

// instants has the message of each named instant of the process.
var instants = map[string]string{
	"Started":            "started, readiness follows the checks",
	"AcceptWindowClosed": "accept window closed, new connections are refused",
	"Drained":            "drained",
	"ComponentsStopped":  "components stopped",
	"Flushed":            "flushed",
}
