// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/lameduck-go/lameduck/probes"
)

// BenchmarkAdd is what it costs to add many checks one at a time, of each of them: while
// the process starts, and when it is up and an answer is at stake.
func BenchmarkAdd(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	for _, when := range []string{"starting", "started"} {
		for _, n := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/checks=%d", when, n), func(b *testing.B) {
				for b.Loop() {
					r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
					if when == "started" {
						r.Started()
					}
					for i := range n {
						if err := r.AddReadiness(probes.Check{Name: fmt.Sprintf("check-%d", i), Func: nothing}); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/check")
			})
		}
	}
}
