// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/internal/load"
)

// A summary is a rollout in numbers.
type summary struct {
	Strategy   string        `json:"strategy"`
	Sent       int           `json:"sent"`
	OK         int           `json:"ok"`
	Lost       int           `json:"lost"`
	Refused    int           `json:"refused"`
	Reset      int           `json:"reset"`
	Closed     int           `json:"closed"`
	Other      int           `json:"other"`
	Took       time.Duration `json:"rollout_ns"`
	MedianExit time.Duration `json:"exit_median_ns"`
	WorstExit  time.Duration `json:"exit_worst_ns"`
	P99        time.Duration `json:"p99_ns"`
	Dials      int           `json:"dials"`
}

func summaries(rollouts []*rollout) []summary {
	var all []summary
	for _, r := range rollouts {
		all = append(all, r.summary())
	}
	return all
}

func (r *rollout) summary() summary {
	s := summary{Strategy: r.Strategy, Took: r.Took, Sent: len(r.results)}
	var latencies []time.Duration
	for _, res := range r.results {
		if !res.Reused {
			s.Dials++
		}
		switch {
		case res.Cause == load.OK:
			s.OK++
			latencies = append(latencies, res.Latency)
		case res.refused || res.Cause == load.Refused:
			s.Refused++
		case res.Cause == load.Reset:
			s.Reset++
		case res.Cause == load.Closed:
			s.Closed++
		default:
			s.Other++
		}
	}
	s.Lost = s.Sent - s.OK
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		s.P99 = latencies[n*99/100]
	}
	s.MedianExit, s.WorstExit = (&draintest.Report{Exits: r.Exits}).Exit()
	return s
}

// table returns the summaries as text.
func table(rollouts []*rollout) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tsent\tlost\trefused\treset\tclosed\tother\trollout\texit median\texit worst\tp99\t ")
	for _, s := range summaries(rollouts) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1fs\t%.2fs\t%.2fs\t%.1fms\t  Code 200 : %d (%s %%)\n",
			s.Strategy, s.Sent, s.Lost, s.Refused, s.Reset, s.Closed, s.Other, s.Took.Seconds(),
			s.MedianExit.Seconds(), s.WorstExit.Seconds(), float64(s.P99)/float64(time.Millisecond), s.OK, percent(s.OK, s.Sent))
	}
	w.Flush()
	return b.String()
}

// percent returns the share with one decimal, as load testers print it, but
// rounded down, so that 100.0 means all.
func percent(part, whole int) string {
	if whole == 0 {
		return "0.0"
	}
	return fmt.Sprintf("%.1f", math.Floor(1000*float64(part)/float64(whole))/10)
}
