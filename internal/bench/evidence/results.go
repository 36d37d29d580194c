// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Results are what was measured, by section.
type results map[string]*measured

// Measured is a section as it was measured.
type measured struct {
	Machine machine
	Took    time.Duration
	Rounds  []round `json:",omitempty"`
	Rolls   []roll  `json:",omitempty"`

	part bool // -services has left some services out
}

// A round is the values of each benchmark by unit.
type round map[string]map[string]float64

// A roll is what came of the terminations of a service.
type roll struct {
	Service string
	Version string
	Lines   int // of the program, or of the configuration
	Sent    int
	Lost    int
	Refused int
	Exits   []time.Duration
	Missing string `json:",omitempty"` // why there is none
}

// load returns what is kept, or nothing.
func load(name string) (results, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return make(results), nil
	}
	if err != nil {
		return nil, err
	}
	all := make(results)
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// keep keeps a section in place of what was there, or adds it. What -services has left
// out stays as it was.
func keep(name, section string, m *measured, add bool) error {
	all, err := load(name)
	if err != nil {
		return err
	}
	if old := all[section]; old != nil && (add || m.part) {
		if err := old.fits(m.Machine); err != nil {
			return fmt.Errorf("%s: %w", section, err)
		}
		if add {
			m = old.plus(m)
		} else {
			m = old.with(m)
		}
	}
	all[section] = m
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// fits returns an error unless a machine, and the code on it, is that of a section, so
// that what is measured there can stand in one table with it.
func (m *measured) fits(o machine) error {
	if m.Machine.undated() != o.undated() {
		return fmt.Errorf("measured on %+v before, and now on %+v: measure all of it again, without -add and -services", m.Machine, o)
	}
	return nil
}

// with returns o with the services of m that it has left out, in m's order.
func (m *measured) with(o *measured) *measured {
	both := &measured{Machine: o.Machine, Took: max(m.Took, o.Took), Rolls: slices.Clone(m.Rolls)}
	for _, r := range o.Rolls {
		i := slices.IndexFunc(both.Rolls, func(t roll) bool { return t.Service == r.Service })
		if i < 0 {
			both.Rolls = append(both.Rolls, r)
		} else {
			both.Rolls[i] = r
		}
	}
	return both
}

// plus returns both together.
func (m *measured) plus(o *measured) *measured {
	sum := &measured{Machine: o.Machine, Took: m.Took + o.Took}
	sum.Rounds = slices.Concat(m.Rounds, o.Rounds)
	sum.Rolls = slices.Clone(m.Rolls)
	for _, r := range o.Rolls {
		i := slices.IndexFunc(sum.Rolls, func(t roll) bool { return t.Service == r.Service })
		if i < 0 {
			sum.Rolls = append(sum.Rolls, r)
			continue
		}
		if len(sum.Rolls[i].Exits) == 0 {
			sum.Rolls[i] = r
			continue
		}
		t := &sum.Rolls[i]
		t.Sent += r.Sent
		t.Lost += r.Lost
		t.Refused += r.Refused
		t.Exits = slices.Concat(t.Exits, r.Exits)
		t.Missing = cmp.Or(t.Missing, r.Missing)
	}
	return sum
}

// values returns those of a benchmark, one for each round.
func (m *measured) values(benchmark, unit string) []float64 {
	var all []float64
	for _, r := range m.Rounds {
		if v, ok := r[benchmark][unit]; ok {
			all = append(all, v)
		}
	}
	return all
}

// median returns that of a benchmark, over the rounds; 0 if there is none.
func (m *measured) median(benchmark, unit string) float64 {
	return median(m.values(benchmark, unit))
}

// ratio returns the median of the rounds' ratios of one benchmark to another.
func (m *measured) ratio(benchmark, to, unit string) float64 {
	a, b := m.values(benchmark, unit), m.values(to, unit)
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		a[i] /= b[i]
	}
	return median(a)
}

func median[T ~int64 | ~float64](all []T) T {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
