// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lameduck-go/lameduck/internal/graph"
	"github.com/lameduck-go/lameduck/probes"
)

// A process is one run of an App. It is built whole before anything starts.
type process struct {
	app       *App
	log       *slog.Logger // writes to story
	story     *story
	observers []observer
	notifier  *notifier // nil if systemd is not to be told; set before run
	profiler  profiler
	budget    budget
	plan      Plan
	probes    *probes.Registry
	parts     []*part
	flushing  *part // stands for App.Flush, and is none of the parts

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
		app:     a,
		probes:  a.Probes,
		ended:   make(chan *part, len(a.Components)),
		overdue: make(chan struct{}),
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

// The names under which errors and stacks speak of what is no component.
const (
	flushName  = "flush"
	probesName = "probes"
)

// check reports what is wrong with the components, each with its name.
func (p *process) check() error {
	errs := []error{p.checkApp()}
	if p.budget.total() <= 0 {
		errs = append(errs, p.budget.check(p.budget.floor))
	}
	served := make(map[any]string)
	for i, c := range p.app.Components {
		if c.Name == "" {
			errs = append(errs, fmt.Errorf("component %d has no name", i))
		}
		if c.Name == flushName || c.Name == probesName {
			errs = append(errs, fmt.Errorf("component %d: the name %q is that of a part of every App", i, c.Name))
		}
		if c.Server == nil {
			if c.Listen != nil {
				errs = append(errs, fmt.Errorf("component %q: Listen is for a Server, and there is none", c.Name))
			}
			continue
		}
		errs = append(errs, p.checkServer(c))
		for _, server := range []any{c.Server, c.Server.HTTP} {
			if other, ok := served[server]; ok {
				errs = append(errs, fmt.Errorf("components %q and %q have the same server", other, c.Name))
				break
			}
		}
		served[c.Server] = c.Name
		if c.Server.HTTP != nil {
			served[c.Server.HTTP] = c.Name
		}
	}
	return errors.Join(append(errs, graph.Check(nodes(p.app.Components)))...)
}

// checkApp reports what is wrong apart from the components and the budget.
func (p *process) checkApp() error {
	var errs []error
	for i, f := range p.app.Observers {
		if f == nil {
			errs = append(errs, fmt.Errorf("observer %d is nil", i))
		}
	}
	if p.app.ProbeAddr == "" && p.app.PreStopToken != "" {
		errs = append(errs, errors.New("the pre-stop endpoint needs ProbeAddr"))
	}
	if strings.TrimSpace(p.app.PreStopToken) != p.app.PreStopToken || strings.ContainsFunc(p.app.PreStopToken, unicode.IsControl) {
		errs = append(errs, errors.New("PreStopToken has white space around it or control characters, which no header can carry"))
	}
	if p.app.PreStop > 0 && p.app.PreStopToken != "" {
		errs = append(errs, fmt.Errorf("PreStop is %v, but the time of the pre-stop endpoint is part of the shutdown", p.app.PreStop))
	}
	return errors.Join(errs...)
}

// floorOf returns the floor of a server: that of the process, if it has none.
func (p *process) floorOf(c Component) time.Duration {
	if c.Server.Floor == 0 {
		return p.budget.floor
	}
	return max(c.Server.Floor, 0)
}

// checkServer reports what is wrong with a server.
func (p *process) checkServer(c Component) error {
	h, grpc := c.Server.HTTP, c.Server.GRPC
	switch {
	case h == nil && grpc == nil:
		return fmt.Errorf("component %q: the server is nil", c.Name)
	case h != nil && grpc != nil:
		return fmt.Errorf("component %q: its server has both HTTP and GRPC; each takes a component of its own", c.Name)
	case h != nil && c.Addr != "":
		return fmt.Errorf("component %q: Addr is for GRPC; that of HTTP is its own", c.Name)
	case grpc != nil && c.Addr == "" && c.Listen == nil:
		return fmt.Errorf("component %q: a gRPC server without Addr", c.Name)
	case p.app.ProbeAddr != "" && c.address() == p.app.ProbeAddr && !strings.HasSuffix(p.app.ProbeAddr, ":0"):
		return fmt.Errorf("component %q: its address %s is also that of the probe listener; mount the probes on its router instead", c.Name, p.app.ProbeAddr)
	case c.Start != nil || c.Run != nil || c.Stop != nil:
		return fmt.Errorf("component %q: a server has no Start, Run or Stop of its own", c.Name)
	case c.Drain != nil:
		return fmt.Errorf("component %q: a server has no Drain of its own", c.Name)
	}
	if p.budget.total() <= 0 {
		return nil // said once, by check
	}
	if err := p.budget.check(p.floorOf(c)); err != nil {
		return fmt.Errorf("component %q: %w", c.Name, err)
	}
	return nil
}

// register adds the readiness check of a part that has started. Before that
// there is nothing to check, and a check may not be able to bear it.
func (p *process) register(part *part) error {
	if part.Ready == nil {
		return nil
	}
	return p.probes.AddReadiness(probes.Check{Name: part.Name, Func: part.Ready, DependsOn: part.checksBelow()})
}

// build makes the parts and ties them together, dependencies first.
func (p *process) build() {
	p.flushing = newPart(Component{Name: flushName})
	p.parts = make([]*part, 0, len(p.app.Components))
	byName := make(map[string]*part, len(p.app.Components))
	for _, c := range p.app.Components {
		part := newPart(c)
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

func nodes(components []Component) []graph.Node {
	nodes := make([]graph.Node, 0, len(components))
	for _, c := range components {
		nodes = append(nodes, graph.Node{Name: c.Name, DependsOn: c.DependsOn})
	}
	return nodes
}

// run is the life of the process, a line for each part of it.
func (p *process) run(ctx context.Context) error {
	ctx, release := p.app.shutdownContext(ctx)
	defer release()
	p.begin()
	closeProbes, err := p.openProbes(ctx)
	if err != nil {
		p.log.Error("probe listener failed to start", "error", err)
		p.dismiss()
		return fmt.Errorf("%w: %w", ErrStart, err)
	}
	reason := p.start(ctx)
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
		if ctx.Err() != nil && returned(err) {
			p.log.Warn("start interrupted", "component", part.Name, "error", err)
			return nil // told to stop, and did
		}
		return p.failStart(part, err)
	}
	if !part.fate.CompareAndSwap(starting, hasStarted) {
		part.undo()
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
		if part.runCtx.Err() != nil && errors.Is(err, context.Canceled) {
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
