// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// BenchmarkCoordinator is what the coordinator adds to the start and the stop of
// components that do nothing, each of which depends on up to four others. A process
// has its own cost too, that of an App without components, which is taken off. With
// -cpu 1 it is what a component costs; with more it is how long that takes, which for
// a few components is for the most part the waking of idle processors.
func BenchmarkCoordinator(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	empty := make(map[int]float64) // ns of an App without components, by GOMAXPROCS
	for _, n := range []int{0, 10, 100, 1000, 10000} {
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
				a := &lifecycle.App{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Components: components}
				a.Observers = []func(lifecycle.Event){func(e lifecycle.Event) {
					if e.Instant == "Started" {
						a.Shutdown("enough")
					}
				}}
				if err := a.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			took := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if n == 0 {
				empty[runtime.GOMAXPROCS(0)] = took
			} else if none, ok := empty[runtime.GOMAXPROCS(0)]; ok {
				b.ReportMetric((took-none)/float64(n), "ns/component")
			}
		})
	}
}

// BenchmarkOvershoot is how long after its deadline each phase is over when every
// drain, every stop and Flush hang, by the number of other goroutines in the process,
// and of how many components the report has the stacks.
func BenchmarkOvershoot(b *testing.B) {
	for _, grace := range []time.Duration{400 * time.Millisecond, 8 * time.Second} {
		for _, n := range []int{0, 10_000, 30_000} {
			b.Run(fmt.Sprintf("grace=%v/goroutines=%d", grace, n), func(b *testing.B) { overshoot(b, grace, n) })
		}
	}
}

func overshoot(b *testing.B, grace time.Duration, goroutines int) {
	release := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(release)
	for range goroutines {
		others.Go(func() { <-release })
	}
	const components = 10
	worst := make(map[string]time.Duration)
	known := 0
	for b.Loop() {
		hang := func(context.Context) error { <-release; return nil }
		a := &lifecycle.App{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), GracePeriod: grace, Flush: hang}
		for i := range components {
			a.Components = append(a.Components, lifecycle.Component{Name: fmt.Sprint(i), Drain: hang, Stop: hang})
		}
		a.Observers = []func(lifecycle.Event){func(e lifecycle.Event) {
			if e.Instant == "Started" {
				a.Shutdown("enough")
			}
		}}
		a.Run(b.Context())
		for _, p := range a.Report().Phases {
			worst[p.Name] = max(worst[p.Name], p.Ended-p.By)
		}
		for _, c := range a.Report().Components {
			if strings.Contains(c.Stacks, "overshoot") {
				known++
			}
		}
	}
	for _, phase := range []string{"drain", "components", "flush", "exit"} {
		b.ReportMetric(float64(worst[phase].Microseconds())/1e3, phase+"-worst-ms")
	}
	b.ReportMetric(100*float64(known)/float64(b.N*components), "%-stacks")
}
