// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A report is what is known of a probe, for an answer that is not plain.
type report struct {
	kind     kind
	phase    phase
	verdict  *verdict
	items    []item
	unknown  []string // what was to be excluded and does not exist
	excluded map[string]bool
	allowed  bool // to show the text of errors
}

// An item is a check at the time of a report, or a step of start-up.
type item struct {
	check *check // nil: a step
	view  view
	step  step
}

// report returns a report on a probe, or on one of its checks or steps if a name
// is given: nil if there is none of that name.
func (s *snapshot) report(k kind, now time.Time, name string, exclude []string) *report {
	rep := &report{kind: k, phase: s.phase, excluded: make(map[string]bool)}
	if name != "" {
		return rep.about(s, name, now)
	}
	for _, name := range exclude {
		switch {
		case k != startup && s.checks.find(k.checks(), name) != nil:
			rep.excluded[name] = true
		case name != "":
			rep.unknown = append(rep.unknown, name)
		}
	}
	if k == startup {
		rep.steps(s, "")
		rep.verdict = s.judge(k, now)
		return rep
	}
	rep.verdict = s.judgeChecks(k.checks(), now, rep.excluded, &rep.items)
	if v := s.overruling(k, now); v != nil {
		rep.verdict = v
	}
	return rep
}

// about makes rep a report on one check or step.
func (rep *report) about(s *snapshot, name string, now time.Time) *report {
	if rep.kind == startup {
		rep.verdict = allWell
		if rep.steps(s, name); len(rep.items) == 0 {
			return nil
		}
		if !rep.items[0].step.done {
			rep.verdict = s.missing()
		}
		return rep
	}
	c := s.checks.find(rep.kind.checks(), name)
	if c == nil {
		return nil
	}
	alone := &snapshot{phase: s.phase, checks: roster{most: []*check{c}}}
	rep.verdict = alone.judgeChecks(c.kind, now, nil, &rep.items)
	if c.kind == readiness && s.down && s.red(rep.kind) {
		rep.verdict = shuttingDown
	}
	return rep
}

// steps adds the steps, or that of a name.
func (rep *report) steps(s *snapshot, name string) {
	for _, step := range s.steps {
		if name == "" || name == step.name {
			rep.items = append(rep.items, item{step: step})
		}
	}
}

func (it *item) name() string {
	if it.check == nil {
		return it.step.name
	}
	return it.check.Name
}

// grade returns how good the item is for the probe.
func (it *item) grade() grade {
	switch {
	case it.check == nil && it.step.done || it.check != nil && it.view.state == passing:
		return good
	case it.check == nil || it.view.red:
		return bad
	default:
		return degraded
	}
}

// reason says why an item is not good.
func (it *item) reason(allowed bool) string {
	if it.check == nil {
		return "not done yet"
	}
	return it.check.reason(it.view, allowed)
}

// warning is for whoever wanted to exclude what is not there.
func (rep *report) warning() string {
	if len(rep.unknown) == 0 {
		return ""
	}
	return "there is no such check to exclude: " + list(rep.unknown, maxRest)
}

// left says what was left out.
func (rep *report) left() string {
	if len(rep.excluded) == 0 {
		return ""
	}
	return "excluded: " + list(slices.Sorted(maps.Keys(rep.excluded)), maxRest)
}

// text returns the report as lines: first the plain answer, and then, if it is to
// be verbose, the checks in the manner of Kubernetes' API server.
func (rep *report) text(verbose bool) []byte {
	var b strings.Builder
	b.WriteString(rep.verdict.line + "\n")
	if w := rep.warning(); w != "" {
		b.WriteString("warning: " + w + "\n")
	}
	if left := rep.left(); left != "" {
		b.WriteString(left + "\n")
	}
	if !verbose {
		return []byte(b.String())
	}
	if rep.maintained() {
		fmt.Fprintf(&b, "maintenance: %s\n", oneLine(rep.phase.reason, maxText))
	}
	for i := range rep.items {
		it := &rep.items[i]
		name := quoted(it.name())
		switch {
		case rep.excluded[it.name()]:
			fmt.Fprintf(&b, "[ ]%s excluded\n", name)
		case it.grade() == good:
			fmt.Fprintf(&b, "[+]%s ok\n", name)
		case it.grade() == degraded:
			fmt.Fprintf(&b, "[~]%s degraded: %s\n", name, it.reason(rep.allowed))
		default:
			fmt.Fprintf(&b, "[-]%s failed: %s\n", name, it.reason(rep.allowed))
		}
	}
	return []byte(b.String())
}

// maintained reports whether there is a reason of maintenance to be shown.
func (rep *report) maintained() bool {
	return rep.verdict.off && rep.verdict.line == maintenance.line && rep.phase.reason != "" && rep.allowed
}

// A body is an answer of application/health+json
// (draft-inadarei-api-health-check-06).
type body struct {
	Status      string            `json:"status"`
	Description string            `json:"description"`
	Output      string            `json:"output,omitempty"`
	Notes       []string          `json:"notes,omitempty"`
	Checks      map[string][]part `json:"checks,omitempty"`
}

// A part is what the draft says of a component, and the dependencies that it has
// no words for.
type part struct {
	ComponentID string     `json:"componentId"`
	Status      string     `json:"status"`
	Time        *time.Time `json:"time,omitempty"`
	Value       *float64   `json:"observedValue,omitempty"`
	Unit        string     `json:"observedUnit,omitempty"`
	Output      string     `json:"output,omitempty"`
	State       string     `json:"state"`
	Importance  string     `json:"importance"`
	DependsOn   []string   `json:"dependsOn,omitempty"`
	Causes      []string   `json:"causes,omitempty"`
	Excluded    bool       `json:"excluded,omitempty"`
}

// statusOf has the draft's words.
var statusOf = [...]string{good: "pass", degraded: "warn", bad: "fail"}

// json returns the report as JSON, with the checks if it is to be verbose.
func (rep *report) json(verbose bool) []byte {
	b := body{Status: statusOf[rep.verdict.grade], Description: rep.kind.String()}
	if rep.verdict.grade != good {
		b.Output = rep.verdict.line
	}
	if w := rep.warning(); w != "" {
		b.Notes = append(b.Notes, w)
	}
	if left := rep.left(); left != "" {
		b.Notes = append(b.Notes, left)
	}
	if verbose {
		if rep.maintained() {
			b.Notes = append(b.Notes, "maintenance: "+oneLine(rep.phase.reason, maxText))
		}
		b.Checks = make(map[string][]part, len(rep.items))
		for i := range rep.items {
			it := &rep.items[i]
			b.Checks[it.name()] = []part{rep.part(it)}
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic("probes: " + err.Error()) // strings and numbers only
	}
	return append(text, '\n')
}

func (rep *report) part(it *item) part {
	p := part{
		ComponentID: it.name(),
		Status:      statusOf[it.grade()],
		State:       it.state(),
		Importance:  "critical",
		Excluded:    rep.excluded[it.name()],
	}
	if it.grade() != good {
		p.Output = it.reason(rep.allowed)
	}
	if c := it.check; c != nil {
		p.Importance, p.DependsOn, p.Causes = c.importance(), c.DependsOn, it.view.causes
		if ended := it.view.ended; !ended.IsZero() {
			ms := float64(it.view.took) / float64(time.Millisecond)
			p.Time, p.Value, p.Unit = &ended, &ms, "ms"
		}
	}
	return p
}

// state is the state of a check, or of a step.
func (it *item) state() string {
	switch {
	case it.check == nil && it.step.done:
		return passing.String()
	case it.check == nil:
		return unknown.String()
	case it.view.late:
		return failing.String()
	default:
		return it.view.result.state.String()
	}
}
