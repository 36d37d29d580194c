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

// A Report says what a process has done on its way down. Its JSON form has
// durations in nanoseconds, as their keys say.
type Report struct {
	Reason     string            `json:"reason"`            // why the shutdown began
	Up         time.Duration     `json:"up_ns"`             // from the start until T0
	Took       time.Duration     `json:"took_ns"`           // from T0 until the report
	Plan       Plan              `json:"plan"`              // the budget
	Phases     []PhaseReport     `json:"phases"`            // those that are over, in their order
	Components []ComponentReport `json:"components"`        // in the order of App.Components
	Pending    []string          `json:"pending,omitempty"` // what had not stopped and what it did, if the process is left before its end
	Errors     []string          `json:"errors,omitempty"`  // the parts of the error that Run returns
	ExitStatus int               `json:"exit_status"`       // as of [ExitCode], or what Main exits with
}

// A PhaseReport says how long a phase of the shutdown has taken.
type PhaseReport struct {
	Name  string        `json:"name"`     // as in [Plan.Phases]
	Took  time.Duration `json:"took_ns"`  // by itself
	Ended time.Duration `json:"ended_ns"` // after T0
	By    time.Duration `json:"by_ns"`    // when after T0 it had to end; 0, as Ended: an accept window without servers
}

// A ComponentReport says what has become of one component.
type ComponentReport struct {
	Name  string        `json:"name"`
	Start time.Duration `json:"start_ns"` // how long it took to start
	Drain time.Duration `json:"drain_ns"`
	Stop  time.Duration `json:"stop_ns"`

	// Fate is "stopped", "not started" or "failed", or "left behind" if something
	// of it did not return in time, or "" if it was not over when the report was
	// made.
	Fate    string        `json:"fate"`
	Stacks  string        `json:"stacks,omitempty"`  // of what was left behind
	Drained *drain.Report `json:"drained,omitempty"` // of a server
}

// The fates of a component.
const (
	notStarted = "not started"
	stopped    = "stopped"
	failed     = "failed"
	leftBehind = "left behind"
)

// Requests returns how many requests the servers have served since T0, how many
// connections they have told to go, and how many lines of what was cut they have.
func (r Report) Requests() (served, told, cut int64) {
	for _, c := range r.Components {
		if c.Drained != nil {
			served += c.Drained.Total().Requests
			told += c.Drained.Told + c.Drained.GoAway + c.Drained.GoAwayOnce
			cut += int64(len(c.Drained.Cut))
		}
	}
	return served, told, cut
}

// String returns the report as one line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: took %v of %v", r.Reason, round(r.Took), r.Plan.Deadline())
	for _, p := range r.Phases {
		fmt.Fprintf(&b, ", %s %v", p.Name, round(p.Took))
	}
	if slow := r.slowest(3); len(slow) > 0 {
		fmt.Fprintf(&b, "; slowest %s", strings.Join(slow, ", "))
	}
	served, told, cut := r.Requests()
	fmt.Fprintf(&b, "; requests served %d, clients told %d, cut %d", served, told, cut)
	if len(r.Pending) > 0 {
		fmt.Fprintf(&b, "; not stopped %s", strings.Join(r.Pending, ", "))
	}
	fmt.Fprintf(&b, "; exit status %d", r.ExitStatus)
	return b.String()
}

// slowest returns the n components that took the longest to drain and to stop.
func (r Report) slowest(n int) []string {
	down := func(i int) time.Duration { return r.Components[i].Drain + r.Components[i].Stop }
	var slow []int // the n slowest so far
	for i := range r.Components {
		if down(i) == 0 || len(slow) == n && down(i) <= down(slow[n-1]) {
			continue
		}
		slow = append(slow[:min(len(slow), n-1)], i)
		slices.SortStableFunc(slow, func(i, j int) int { return cmp.Compare(down(j), down(i)) })
	}
	var names []string
	for _, i := range slow {
		names = append(names, fmt.Sprintf("%s %v", r.Components[i].Name, round(down(i))))
	}
	return names
}

// round leaves three or four digits, or so.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
}

// Report returns the report of the run, or nil before Run has begun the shutdown.
// Once Run has returned it does not change any more.
func (a *App) Report() *Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report
}

// report makes the report of how things stand.
func (p *process) report(status int) *Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Report{
		Reason:     p.reason,
		Plan:       p.plan,
		Phases:     slices.Clone(p.phases),
		Components: make([]ComponentReport, 0, len(p.parts)),
		ExitStatus: status,
	}
	if !p.t0.IsZero() {
		r.Up, r.Took = p.t0.Sub(p.began), time.Since(p.t0)
	}
	for _, err := range p.errs {
		r.Errors = append(r.Errors, err.Error())
	}
	for _, part := range p.parts {
		part.mu.Lock()
		r.Components = append(r.Components, part.report)
		part.mu.Unlock()
	}
	return r
}

// phaseOver notes the end of a phase. The end of the one before is its beginning.
func (p *process) phaseOver(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := PhaseReport{Name: name, Ended: time.Since(p.t0)}
	for _, planned := range p.plan.Phases {
		if planned.Name == name {
			r.By = planned.By
		}
	}
	if r.By == 0 { // no server is drained, so it was over when it began
		r.Ended = 0
	}
	r.Took = r.Ended
	if n := len(p.phases); n > 0 {
		r.Took -= p.phases[n-1].Ended
	}
	p.phases = append(p.phases, r)
}

// note changes the part's report.
func (p *part) note(change func(*ComponentReport)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.report)
}

// settle says what has become of the part, unless that is known already.
func (p *part) settle(fate string) {
	p.note(func(r *ComponentReport) { r.Fate = cmp.Or(r.Fate, fate) })
}

// started tells that a part has started.
func (p *process) started(part *part, took time.Duration) {
	p.story.component("component started", part.Name, took)
	part.note(func(r *ComponentReport) { r.Start = took })
	p.tell(Event{Instant: "ComponentStarted", Component: part.Name, Took: took})
}

// stopped tells that everything of a part that returns has returned.
func (p *process) stopped(part *part, took time.Duration) {
	fate := stopped
	part.note(func(r *ComponentReport) {
		r.Stop = took
		r.Fate = cmp.Or(r.Fate, stopped)
		fate = r.Fate
	})
	if fate == leftBehind {
		return // which was told
	}
	p.story.component("component stopped", part.Name, took)
	p.tell(Event{Instant: "ComponentStopped", Component: part.Name, Took: took})
}

// failed notes an error of a part. It is in the log already.
func (p *process) failed(part *part, err error) {
	p.fail(err)
	part.note(func(r *ComponentReport) {
		if r.Fate != leftBehind {
			r.Fate = failed
		}
	})
	p.tell(Event{Instant: "ComponentFailed", Component: part.Name, Err: err})
}
