// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// A curve is what became of a soaking.
type curve struct {
	points               []point
	rolls                draintest.Report // of all, without their exits
	terminations, cycles int              // so far
}

// A point is what there was after a round: the counts so far, what this process held
// at rest, and the worst of what the round's replicas held at their end. Of goroutines
// and descriptors that is what they had not held when they began.
type point struct {
	at                               time.Duration
	terminations, cycles, sent, lost int
	own, replicas                    holds
}

const (
	header = "" +
		"                                               here, at rest                 a replica at its end, at worst\n" +
		"   time   ended  cycles     sent lost  gorout.   fd     heap      RSS      gorout.   fd     heap      RSS\n"
	row = "%7s %7d %7d %8d %4d %8s %4s %8s %8s     %8s %4s %8s %8s\n"
)

func (p point) String() string {
	return fmt.Sprintf(row, p.at.Round(time.Second), p.terminations, p.cycles, p.sent, p.lost,
		count(p.own.Goroutines), count(p.own.Descriptors), mebi(p.own.Heap), mebi(p.own.Resident),
		count(p.replicas.Goroutines), count(p.replicas.Descriptors), mebi(p.replicas.Heap), mebi(p.replicas.Resident))
}

func count(n int) string {
	if n == unknown {
		return "-"
	}
	return fmt.Sprint(n)
}

func mebi(n int) string {
	if n == unknown {
		return "-"
	}
	return fmt.Sprintf("%.2fMi", float64(n)/(1<<20))
}

// rows is how many points the table has at most.
const rows = 12

// String returns the curve as a table: some of its points, evenly spread, and how the
// last quarter compares with the first.
func (c *curve) String() string {
	var b strings.Builder
	b.WriteString(header)
	last := len(c.points) - 1
	for i := range min(rows, len(c.points)) {
		b.WriteString(c.points[i*last/max(min(rows, len(c.points))-1, 1)].String())
	}
	for _, g := range c.growths() {
		fmt.Fprintln(&b, g)
	}
	fmt.Fprintf(&b, "%d replicas were terminated, %d apps only started and stopped, %d of %d requests were lost",
		c.terminations, c.cycles, c.rolls.Lost(), c.rolls.Total().Sent)
	return b.String()
}

// A growth compares the first quarter of a curve with its last, by their medians.
type growth struct {
	what        string
	first, last int
	bound       int // by how much the last may be the larger
	unit        func(int) string
}

func (g growth) String() string {
	return fmt.Sprintf("%-32s %9s in the first quarter, %9s in the last, bound +%s", g.what, g.unit(g.first), g.unit(g.last), g.unit(g.bound))
}

func (g growth) tooMuch() bool { return g.last-g.first > g.bound }

// The bounds. At rest there is nothing that may come and go, so not one goroutine or
// descriptor may be there that was not. The heap has what the runtime keeps for reuse;
// what the process is resident in depends on the kernel, and on when the collector ran.
const (
	heapBound     = 1 << 20
	residentBound = 16 << 20
)

// growths returns nothing if there are too few points.
func (c *curve) growths() (all []growth) {
	quarter := len(c.points) / 4
	if quarter == 0 {
		return nil
	}
	first, last := c.points[:quarter], c.points[len(c.points)-quarter:]
	for _, m := range []struct {
		what  string
		bound int
		unit  func(int) string
		of    func(point) int
	}{
		{"goroutines", 0, count, func(p point) int { return p.own.Goroutines }},
		{"file descriptors", 0, count, func(p point) int { return p.own.Descriptors }},
		{"heap", heapBound, mebi, func(p point) int { return p.own.Heap }},
		{"RSS", residentBound, mebi, func(p point) int { return p.own.Resident }},
		{"heap of a replica at its end", heapBound, mebi, func(p point) int { return p.replicas.Heap }},
		{"RSS of a replica at its end", residentBound, mebi, func(p point) int { return p.replicas.Resident }},
	} {
		all = append(all, growth{m.what, median(first, m.of), median(last, m.of), m.bound, m.unit})
	}
	return all
}

func median(points []point, of func(point) int) int {
	all := make([]int, len(points))
	for i, p := range points {
		all[i] = of(p)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// faults returns what is wrong.
func (c *curve) faults() (all []string) {
	if lost := c.rolls.Lost(); lost > 0 {
		all = append(all, fmt.Sprintf("%d of %d requests were lost; the first: %v", lost, c.rolls.Total().Sent, c.rolls.Total().FirstLoss))
	}
	var left holds
	for _, p := range c.points {
		left = left.worse(p.replicas)
	}
	if left.Goroutines > 0 {
		all = append(all, fmt.Sprintf("a replica has %d goroutines more at its end than at its beginning", left.Goroutines))
	}
	if left.Descriptors > 0 {
		all = append(all, fmt.Sprintf("a replica has %d file descriptors more at its end than at its beginning", left.Descriptors))
	}
	for _, g := range c.growths() {
		if g.tooMuch() {
			all = append(all, g.String())
		}
	}
	return all
}
