// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func after(d time.Duration, err error) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return err }
}

// newApp returns a worker on a database, in a bubble.
func newApp() *lifecycle.App {
	return &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "db", Stop: after(2*time.Second, nil)},
			{Name: "worker", DependsOn: []string{"db"}, Drain: after(3*time.Second, nil), Stop: after(time.Second, errors.New("broken"))},
		},
	}
}

// A remembered is an exporter whose spans outlive its Shutdown.
type remembered struct{ *tracetest.InMemoryExporter }

func (remembered) Shutdown(context.Context) error { return nil }

func TestShutdownIsATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exporter := remembered{tracetest.NewInMemoryExporter()}
		app := newApp()
		bridge(app, sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter)))
		s := lifecycletest.Start(t, app)
		time.Sleep(time.Minute)
		t0 := time.Now()
		r := s.Stop("enough")
		assert.Equal(t, 1, r.ExitStatus)

		type line struct {
			name, component string
			from, to        time.Duration
			failed          bool
		}
		var lines []line
		var root tracetest.SpanStub
		for _, span := range exporter.GetSpans() {
			if !span.Parent.IsValid() {
				root = span
			}
		}
		for _, span := range exporter.GetSpans() {
			assert.Equal(t, root.SpanContext.TraceID(), span.SpanContext.TraceID(), span.Name)
			component := ""
			for _, a := range span.Attributes {
				if a.Key == "component" {
					component = a.Value.AsString()
				}
			}
			lines = append(lines, line{span.Name, component, span.StartTime.Sub(t0), span.EndTime.Sub(t0), span.Status.Code == codes.Error})
		}
		const sec = time.Second
		assert.ElementsMatch(t, []line{
			{"drain", "worker", 0, 3 * sec, false},
			{"stop", "worker", 3 * sec, 4 * sec, true},
			{"stop", "db", 4 * sec, 6 * sec, false},
			{"phase: drain", "", 0, 3 * sec, false},
			{"phase: components", "", 3 * sec, 6 * sec, false},
			{"shutdown", "", 0, 6 * sec, true},
		}, lines)
		assert.Equal(t, "stop worker: broken", root.Status.Description)
		require.Len(t, root.Attributes, 1)
		assert.Equal(t, "enough", root.Attributes[0].Value.AsString())
	})
}

func TestStopThatHangsIsASpanThatSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exporter := remembered{tracetest.NewInMemoryExporter()}
		app := newApp()
		app.Components[0].Stop = after(time.Hour, nil)
		bridge(app, sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter)))
		r := lifecycletest.Start(t, app).Stop("enough")
		assert.Equal(t, 4, r.ExitStatus)
		byName := make(map[string]tracetest.SpanStub)
		for _, span := range exporter.GetSpans() {
			byName[span.Name] = span
		}
		hung := byName["left behind"]
		assert.Equal(t, "stop db: lifecycle: not done by its deadline", hung.Status.Description)
		assert.Equal(t, 28*time.Second, hung.EndTime.Sub(hung.StartTime))
		assert.Equal(t, "stop worker: broken\nstop db: lifecycle: not done by its deadline", byName["shutdown"].Status.Description)
		time.Sleep(time.Hour)
	})
}

// A hung is an exporter that ignores its context.
type hung struct{ release chan struct{} }

func (h hung) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { <-h.release; return nil }
func (h hung) Shutdown(context.Context) error                             { <-h.release; return nil }

// TestExporterThatHangsHoldsNothing: it has its time, or what there is of the reserve.
func TestExporterThatHangsHoldsNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stop   time.Duration // of the database
		took   time.Duration
		status int
	}{
		{"there is time", 2 * time.Second, 6*time.Second + exportTime, 1},
		{"the reserve", time.Hour, 29*time.Second - 50*time.Millisecond, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				exporter := hung{make(chan struct{})}
				app := newApp()
				app.Components[0].Stop = after(tt.stop, nil)
				bridge(app, sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter)))
				s := lifecycletest.Start(t, app)
				t0 := time.Now()
				r := s.Stop("enough")
				assert.Equal(t, tt.took, time.Since(t0))
				assert.Equal(t, tt.status, r.ExitStatus)
				assert.ErrorContains(t, r.Err, "stop flush: ")
				close(exporter.release)
				time.Sleep(2 * time.Hour)
			})
		})
	}
}
