// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// exportTime is how long the last export may take. The reserve of the grace period
// may leave it less.
const exportTime = 3 * time.Second

// bridge makes the shutdown of an App a trace, and exports it and all other spans of
// the provider when everything has stopped: the last span that a component ends is
// among them. An exporter that hangs holds nothing else up; the exit status says so.
func bridge(app *lifecycle.App, provider *sdktrace.TracerProvider) {
	t := &shutdownTrace{
		tracer: provider.Tracer("lameduck"),
		errs:   make(map[string]error),
		ended:  make(map[string]time.Time),
		done:   make(chan struct{}),
	}
	app.Observers = append(app.Observers, t.observe)
	app.Flush = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, exportTime)
		defer cancel()
		select {
		case <-t.done: // an observer has a goroutine of its own
		case <-ctx.Done():
		}
		return provider.Shutdown(ctx) // which exports what is left
	}
}

// A shutdownTrace is told of the shutdown and makes spans of it, in the past.
type shutdownTrace struct {
	tracer trace.Tracer
	t0     time.Time
	ctx    context.Context      // of the span of the whole
	errs   map[string]error     // by component
	faults []error              // all of them
	ended  map[string]time.Time // phases, and accept windows by component
	done   chan struct{}        // closed when all spans have ended
}

func (t *shutdownTrace) observe(e lifecycle.Event) {
	switch e.Instant {
	case "ShutdownInitiated":
		t.t0 = e.Time
		t.ctx, _ = t.tracer.Start(context.Background(), "shutdown", trace.WithTimestamp(e.Time),
			trace.WithAttributes(attribute.String("reason", e.Reason)))
	case "AcceptWindowClosed":
		t.ended["accept window"], t.ended["accept window of "+e.Component] = e.Time, e.Time
		t.span("accept window", e.Component, t.t0, e.Time, nil)
	case "Drained":
		t.ended["drain"] = e.Time
		t.span("drain", e.Component, t.ended["accept window of "+e.Component], e.Time, nil)
	case "ComponentFailed":
		t.errs[e.Component], t.faults = errors.Join(t.errs[e.Component], e.Err), append(t.faults, e.Err)
	case "ComponentStopped":
		t.span("stop", e.Component, e.Time.Add(-e.Took), e.Time, t.errs[e.Component])
	case "ComponentLeftBehind":
		t.faults = append(t.faults, e.Err)
		t.span("left behind", e.Component, t.t0, e.Time, e.Err)
	case "ComponentsStopped":
		t.ended["components"] = e.Time
		begin := t.t0
		for _, phase := range []string{"accept window", "drain", "components"} {
			if end, ok := t.ended[phase]; ok {
				t.span("phase: "+phase, "", begin, end, nil)
				begin = end
			}
		}
		end(trace.SpanFromContext(t.ctx), e.Time, errors.Join(t.faults...))
		close(t.done)
	}
}

// span makes a span of the shutdown, of a component if it is not empty. One without a
// beginning begins at T0.
func (t *shutdownTrace) span(name, component string, from, to time.Time, err error) {
	if from.IsZero() {
		from = t.t0
	}
	_, span := t.tracer.Start(t.ctx, name, trace.WithTimestamp(from))
	if component != "" {
		span.SetAttributes(attribute.String("component", component))
	}
	end(span, to, err)
}

func end(span trace.Span, at time.Time, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(trace.WithTimestamp(at))
}
