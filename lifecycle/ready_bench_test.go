// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// BenchmarkReadyComponents is what it costs to start and stop many components that each
// have a readiness check, which are added one at a time while the registry runs.
func BenchmarkReadyComponents(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("components=%d", n), func(b *testing.B) {
			components := make([]lifecycle.Component, n)
			for i := range components {
				components[i] = lifecycle.Component{Name: fmt.Sprint(i), Start: nothing, Ready: nothing}
			}
			for b.Loop() {
				log := slog.New(slog.DiscardHandler)
				a := &lifecycle.App{Logger: log, Probes: &probes.Registry{Logger: log}, Components: components}
				a.Observers = []func(lifecycle.Event){func(e lifecycle.Event) {
					if e.Instant == "Started" {
						a.Shutdown("enough")
					}
				}}
				if err := a.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/component")
		})
	}
}
