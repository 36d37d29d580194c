// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// noise is the difference below which nobody counts as ahead.
const noise = 0.05

// A duel is Lameduck beside the best of the others in one measure.
type duel struct {
	measure  string
	ours     float64
	rival    string
	theirs   float64
	format   func(float64) string
	moreWins bool
}

// duels says who is ahead in what.
func duels(all results) string {
	var rows [][]string
	for _, d := range slices.Concat(probeDuels(all["probes"]), servingDuels(all["serving"]), rollDuels(all["rolls"]),
		idleDuels(all["idle"]), componentDuels(all["components"])) {
		rows = append(rows, []string{d.measure, d.format(d.ours), d.format(d.theirs) + ", " + d.rival, d.ahead()})
	}
	return table([]string{"", "Lameduck", "best of the others", "ahead"}, rows)
}

// ahead names the winner, and by how much where that can be said.
func (d duel) ahead() string {
	us, them := d.ours, d.theirs
	if d.moreWins {
		us, them = them, us
	}
	switch {
	case us == them || us > 0 && math.Abs(math.Log(them/us)) < noise:
		return "even"
	case us < them:
		return "Lameduck" + by(them, us)
	}
	return "**" + d.rival + "**" + by(us, them)
}

func by(more, less float64) string {
	if less <= 0 {
		return ""
	}
	return fmt.Sprintf(", ×%s", digits(more/less))
}

// best returns the name with the least value, Lameduck's own left out.
func best(names []string, value func(string) float64) string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return ours(n) > 0 || n == "constant" })
	if len(names) == 0 {
		return ""
	}
	return slices.MinFunc(names, func(a, b string) int { return cmp.Compare(value(a), value(b)) })
}

func probeDuels(m *measured) (all []duel) {
	if m == nil {
		return nil
	}
	for _, n := range sizes[:4] {
		value := func(peer string) float64 { return m.median(probeName(n, peer), "ns/op") }
		rival := best(m.variants("Ready/checks=1000/", "/serial", "ns/op"), value)
		all = append(all, duel{"a readiness probe, " + checks(n), value("lameduck"), library(rival), value(rival), nanos, false})
	}
	return all
}

func servingDuels(m *measured) []duel {
	if m == nil {
		return nil
	}
	peers := m.variants("ServeLoopback/", "", "ns/op")
	throughput := func(peer string) float64 {
		return 1 / m.ratio("ServeLoopback/"+peer, "ServeLoopback/net-http", "ns/op")
	}
	fastest := best(peers, func(peer string) float64 { return -throughput(peer) })
	inMemory := func(peer string) float64 { return m.median("ServeInMemory/"+peer, "ns/op") }
	quickest := best(peers, inMemory)
	of := func(peer string) float64 { return m.median("ServeInMemory/"+peer, "allocs/op") }
	thriftiest := best(peers, of)
	ratio := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	return []duel{
		{"throughput over loopback, to net/http's", throughput("lameduck"), servingName(fastest), throughput(fastest), ratio, true},
		{"a request in memory", inMemory("lameduck"), servingName(quickest), inMemory(quickest), nanos, false},
		{"allocations of a request", of("lameduck"), servingName(thriftiest), of(thriftiest), digits, false},
	}
}

// rollDuels compare with the best of all, and apart from that with the best of those
// that lose least, since leaving early is easy.
func rollDuels(m *measured) []duel {
	if m == nil {
		return nil
	}
	rolled := make(map[string]roll)
	var names, patient []string
	for _, r := range m.Rolls {
		if len(r.Exits) == 0 {
			continue
		}
		rolled[r.Service] = r
		names = append(names, r.Service)
		if strings.Contains(r.Service, ", ") {
			patient = append(patient, r.Service)
		}
	}
	const us, even = "Lameduck, floor 2 s", "Lameduck, floor 5 s"
	if len(rolled[us].Exits) == 0 || len(rolled[even].Exits) == 0 || best(patient, func(string) float64 { return 0 }) == "" {
		return nil
	}
	lost := func(name string) float64 { return 1e5 * float64(rolled[name].Lost) / float64(rolled[name].Sent) }
	exit := func(name string) float64 { return float64(median(rolled[name].Exits)) }
	lines := func(name string) float64 { return float64(rolled[name].Lines) }
	fewest, first := best(names, lost), best(names, exit)
	slept, shortest := best(patient, exit), best(names, lines)
	return []duel{
		{"lost of 100,000 requests, floor 2 s", lost(us), fewest, lost(fewest), digits, false},
		{"from SIGTERM to the exit, floor 2 s", exit(us), first, exit(first), nanos, false},
		{"the same, of those that sleep for 5 s", exit(us), slept, exit(slept), nanos, false},
		{"the same, floor 5 s", exit(even), slept, exit(slept), nanos, false},
		{"lines of the program", lines(us), shortest, lines(shortest), digits, false},
	}
}

func idleDuels(m *measured) (all []duel) {
	if m == nil {
		return nil
	}
	for _, n := range []int{idleSizes[0], idleSizes[len(idleSizes)-1]} {
		value := func(unit string) float64 { return m.median(idleName(n), unit) }
		conns := thousands(float64(n)) + " idle connections"
		micros := func(v float64) string { return nanos(v * 1e3) }
		all = append(all,
			duel{"lost with " + conns, value("lost"), "Shutdown", value("Shutdown-lost"), thousands, false},
			duel{"to the end of " + conns, value("drain-s") * 1e9, "Shutdown", value("Shutdown-s") * 1e9, nanos, false},
			duel{"CPU for each of " + conns, value("cpu-µs/conn"), "Shutdown", value("Shutdown-cpu-µs/conn"), micros, false})
	}
	return all
}

func componentDuels(m *measured) (all []duel) {
	if m == nil {
		return nil
	}
	for _, n := range sizes[1:] {
		value := func(peer string) float64 { return m.median(componentName(n, peer), "ns/op") }
		rival := best(m.variants("Components/components=1000/", "", "ns/op"), value)
		all = append(all, duel{fmt.Sprintf("start and stop of %s components", thousands(float64(n))),
			value("lameduck"), library(rival), value(rival), nanos, false})
	}
	return all
}
