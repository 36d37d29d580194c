// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// phases names what follows each instant in a replica's life.
var phases = map[string]string{
	"Launched":           "starting",
	"Started":            "serving",
	"SIGTERM":            "accept window", // of a replica that does not tell T0
	"ShutdownInitiated":  "accept window",
	"AcceptWindowClosed": "lingering",
	"Drained":            "stopping",
}

// wayDown has the instants of package lifecycle from T0 on.
var wayDown = []string{"ShutdownInitiated", "AcceptWindowClosed", "Drained", "ComponentsStopped", "Flushed", "Exited"}

// at returns when an instant came.
func (l lane) at(instant string) (time.Duration, bool) {
	i := slices.IndexFunc(l.Marks, func(m mark) bool { return m.Instant == instant })
	if i < 0 {
		return 0, false
	}
	return l.Marks[i].At, true
}

// bars returns the phases of a replica's life.
func bars(l lane, end time.Duration, x func(time.Duration) float64) []bar {
	var all []bar
	phase, from := "", time.Duration(0)
	closeBar := func(to time.Duration) {
		if phase != "" {
			all = append(all, bar{x(from), x(to) - x(from), strings.ReplaceAll(phase, " ", "-"),
				fmt.Sprintf("%s: %s from %.2f s to %.2f s", l.ID, phase, from.Seconds(), to.Seconds())})
		}
	}
	_, toldT0 := l.at("ShutdownInitiated")
	for _, m := range l.Marks {
		if m.Instant == "Gone" {
			closeBar(m.At)
			return all
		}
		if m.Instant == "SIGTERM" && toldT0 {
			continue
		}
		if next, ok := phases[m.Instant]; ok {
			closeBar(m.At)
			phase, from = next, m.At
		}
	}
	closeBar(end)
	return all
}

// instants returns a mark for each instant of the replica's way down.
func (l lane) instants(x func(time.Duration) float64) []instantMark {
	var all []instantMark
	for _, instant := range wayDown {
		if at, ok := l.at(instant); ok {
			all = append(all, instantMark{x(at), fmt.Sprintf("%s: %s at %.3f s", l.ID, instant, at.Seconds())})
		}
	}
	return all
}

// instants says when the instants come after T0, in the median of the replicas that
// tell all of them. It is empty if there are none.
func (r *rollout) instants() string {
	after := make([][]time.Duration, len(wayDown))
	for _, l := range r.Lanes {
		var own []time.Duration
		for _, instant := range wayDown {
			if at, ok := l.at(instant); ok {
				own = append(own, at)
			}
		}
		if len(own) < len(wayDown) {
			continue
		}
		for i, at := range own {
			after[i] = append(after[i], at-own[0])
		}
	}
	if len(after[0]) == 0 {
		return ""
	}
	var parts []string
	for i, instant := range wayDown[1:] {
		sorted := slices.Sorted(slices.Values(after[i+1]))
		parts = append(parts, fmt.Sprintf("%s %.2f s", instant, sorted[len(sorted)/2].Seconds()))
	}
	return strings.Join(parts, ", ")
}
