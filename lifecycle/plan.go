// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A Plan is what will happen, as known before anything runs: the order of the
// components and the budget of the shutdown.
type Plan struct {
	GracePeriod time.Duration `json:"grace_period_ns"`
	PreStop     time.Duration `json:"pre_stop_ns"`
	Reserve     time.Duration `json:"reserve_ns"`

	// Phases are those of the shutdown, in their order: accept window, drain,
	// components, flush, exit.
	Phases []PlannedPhase `json:"phases"`

	// Layers are the names of the components: those of a layer depend on some of
	// the layer before it, and start and stop side by side. They start in this
	// order and stop in the reverse. No component waits for more than what it
	// depends on.
	Layers [][]string `json:"layers"`
}

// A PlannedPhase is a phase of the shutdown. What a phase does not use of its time
// passes on to those after it.
type PlannedPhase struct {
	Name  string        `json:"name"`
	Least time.Duration `json:"least_ns"` // what no phase before it can take: the longest floor, the time of its own
	By    time.Duration `json:"by_ns"`    // the latest end, after T0
}

// Deadline returns the time from T0 by which every component has stopped: the
// grace period without the pre-stop hook's time and the reserve.
func (p Plan) Deadline() time.Duration { return p.GracePeriod - p.PreStop - p.Reserve }

// String returns the plan as a few lines to print.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "grace period %v - pre-stop hook %v - reserve %v = %v from the signal to the deadline\n",
		p.GracePeriod, p.PreStop, p.Reserve, p.Deadline())
	for _, phase := range p.Phases {
		fmt.Fprintf(&b, "%-14s at least %-6v ends by %v\n", phase.Name, phase.Least, phase.By)
	}
	order := make([]string, 0, len(p.Layers))
	for _, names := range p.Layers {
		order = append(order, strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, "start: %s\n", strings.Join(order, " | "))
	slices.Reverse(order)
	fmt.Fprintf(&b, "stop:  %s\n", strings.Join(order, " | "))
	return b.String()
}

// Plan returns what Run would do, without starting anything. It is for before
// Run; the error is the one that Run would return, and wraps [ErrConfig].
func (a *App) Plan() (Plan, error) {
	p, err := prepare(a)
	if err != nil {
		return Plan{}, err
	}
	return p.plan, nil
}

// The names of the phases.
const (
	acceptPhase     = "accept window"
	drainPhase      = "drain"
	componentsPhase = "components"
	flushPhase      = "flush"
	exitPhase       = "exit"
)

// newPlan writes down the budget and the order of the parts.
func (p *process) newPlan() Plan {
	b := p.budget
	floor, window := p.windows()
	plan := Plan{
		GracePeriod: b.grace,
		PreStop:     b.preStop,
		Reserve:     b.reserve,
		Phases: []PlannedPhase{
			{acceptPhase, floor, window},
			{drainPhase, min(drain.CancelMargin, b.drain()/4), b.drain()},
			{componentsPhase, b.stop, b.total()},
			{flushPhase, b.flushed() - b.total(), b.flushed()},
			{exitPhase, b.overdue() - b.flushed(), b.overdue()},
		},
	}
	for _, part := range p.parts {
		for part.height >= len(plan.Layers) {
			plan.Layers = append(plan.Layers, nil)
		}
		plan.Layers[part.height] = append(plan.Layers[part.height], part.Name)
	}
	return plan
}

// byHeight returns the parts, each after what it depends on.
func (p *process) byHeight() []*part {
	return slices.SortedStableFunc(slices.Values(p.parts), func(a, b *part) int { return cmp.Compare(a.height, b.height) })
}

// windows returns the longest floor of a server, and when the last of the accept
// windows ends at the latest. A server begins to drain when the servers that
// depend on it have been drained, or what else is, and has its share of what is left.
func (p *process) windows() (floor, end time.Duration) {
	if len(p.draining()) == 0 {
		return 0, 0
	}
	ends := make(map[*part]time.Duration, len(p.parts))
	for _, part := range slices.Backward(p.byHeight()) {
		var begin time.Duration
		for _, d := range part.dependants {
			begin = max(begin, ends[d])
		}
		ends[part] = begin
		if !part.drains() {
			continue
		}
		given := p.share(part, begin)
		ends[part] = begin + given
		if part.Server == nil {
			continue
		}
		floor = max(floor, p.floorOf(part.Component))
		end = max(end, begin+windowOf(part.Server.Cap, max(p.floorOf(part.Component)-begin, 0), given))
	}
	return floor, end
}

// windowOf returns how long an accept window can last, by drain's rules.
func windowOf(limit, floor, given time.Duration) time.Duration {
	cancel := given - min(drain.CancelMargin, given/4)
	if limit < 0 {
		return cancel
	}
	return min(max(cmp.Or(limit, given/2), floor), cancel)
}
