// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// BenchmarkCoordinator is what the coordinator adds to the start and the stop of
// components that do nothing, each of which depends on up to four others.
func BenchmarkCoordinator(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("components=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			random := rand.New(rand.NewPCG(1, 2))
			components := make([]lifecycle.Component, n)
			for i := range components {
				components[i] = lifecycle.Component{Name: fmt.Sprint(i), Start: nothing, Stop: nothing}
				for range min(random.IntN(5), i) {
					components[i].DependsOn = append(components[i].DependsOn, fmt.Sprint(random.IntN(i)))
				}
			}
			for b.Loop() {
				a := &lifecycle.App{Logger: slog.New(slog.DiscardHandler), Components: components}
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

// BenchmarkOvershoot is how long after its deadline a process is done in which
// every stop and Flush hang.
func BenchmarkOvershoot(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("components=%d", n), func(b *testing.B) {
			var worst time.Duration
			for b.Loop() {
				release := make(chan struct{})
				hang := func(context.Context) error { <-release; return nil }
				a := &lifecycle.App{Logger: slog.New(slog.DiscardHandler), GracePeriod: 400 * time.Millisecond, Flush: hang}
				for i := range n {
					a.Components = append(a.Components, lifecycle.Component{Name: fmt.Sprint(i), Stop: hang})
				}
				a.Observers = []func(lifecycle.Event){func(e lifecycle.Event) {
					if e.Instant == "Started" {
						a.Shutdown("enough")
					}
				}}
				a.Run(b.Context())
				for _, p := range a.Report().Phases {
					if p.Name == "flush" {
						worst = max(worst, p.Ended-p.By)
					}
				}
				close(release)
			}
			b.ReportMetric(float64(worst.Microseconds())/1e3, "worst-ms")
		})
	}
}
