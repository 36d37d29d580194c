// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package peers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/grafana/dskit/services"
	"github.com/oklog/run"
	"go.uber.org/fx"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A coordinator starts n components and stops them.
type coordinator struct {
	name string
	run  func(ctx context.Context, n int, start, stop func(context.Context) error) error
}

var coordinators = []coordinator{
	{"lameduck", lameduckApp},
	{"dskit", dskitManager},
	{"fx", fxApp},
	{"oklog-run", runGroup},
}

// BenchmarkComponents is the start and the stop of n components that do nothing and
// depend on nothing.
func BenchmarkComponents(b *testing.B) {
	nothing := func(context.Context) error { return nil }
	for _, n := range []int{10, 100, 1000, 10000} {
		for _, c := range coordinators {
			b.Run(fmt.Sprintf("components=%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := c.run(b.Context(), n, nothing, nothing); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestCoordinators makes sure that what is measured is what is meant.
func TestCoordinators(t *testing.T) {
	for _, c := range coordinators {
		t.Run(c.name, func(t *testing.T) {
			const n = 10
			started, stopped := make(chan bool, 2*n), make(chan bool, 2*n)
			count := func(to chan<- bool) func(context.Context) error {
				return func(context.Context) error { to <- true; return nil }
			}
			if err := c.run(t.Context(), n, count(started), count(stopped)); err != nil {
				t.Error(err)
			}
			if len(started) != n || len(stopped) != n {
				t.Errorf("%d of %d were started and %d stopped", len(started), n, len(stopped))
			}
		})
	}
}

func lameduckApp(ctx context.Context, n int, start, stop func(context.Context) error) error {
	a := &lifecycle.App{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for i := range n {
		a.Components = append(a.Components, lifecycle.Component{Name: fmt.Sprint(i), Start: start, Stop: stop})
	}
	a.Observers = []func(lifecycle.Event){func(e lifecycle.Event) {
		if e.Instant == "Started" {
			a.Shutdown("enough")
		}
	}}
	return a.Run(ctx)
}

func dskitManager(ctx context.Context, n int, start, stop func(context.Context) error) error {
	var all []services.Service
	for range n {
		all = append(all, services.NewIdleService(start, func(error) error { return stop(ctx) }))
	}
	m, err := services.NewManager(all...)
	if err != nil {
		return err
	}
	if err := services.StartManagerAndAwaitHealthy(ctx, m); err != nil {
		return err
	}
	return services.StopManagerAndAwaitStopped(ctx, m)
}

func fxApp(ctx context.Context, n int, start, stop func(context.Context) error) error {
	app := fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle) {
		for range n {
			lc.Append(fx.Hook{OnStart: start, OnStop: stop})
		}
	}))
	if err := app.Start(ctx); err != nil {
		return err
	}
	return app.Stop(ctx)
}

// runGroup has one more actor, which ends when all others have started.
func runGroup(ctx context.Context, n int, start, stop func(context.Context) error) error {
	var g run.Group
	started := make(chan error)
	for range n {
		done := make(chan struct{})
		g.Add(func() error {
			started <- start(ctx)
			<-done
			return stop(ctx)
		}, func(error) { close(done) })
	}
	g.Add(func() error {
		for range n {
			if err := <-started; err != nil {
				return err
			}
		}
		return nil
	}, func(error) {})
	return g.Run()
}
