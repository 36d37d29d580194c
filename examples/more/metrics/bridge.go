// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// bridge registers the metrics of an App and of its Probes. Prometheus sees of a
// shutdown what is done by the last scrape before the exit; the log and Report have
// the rest.
func bridge(app *lifecycle.App, registry prometheus.Registerer) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "lameduck", Name: name, Help: help}, labels)
		registry.MustRegister(v)
		return v
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lameduck", Name: name, Help: help}, labels)
		registry.MustRegister(v)
		return v
	}
	probe := func(name, help string, passes func(probes.Status) bool) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "lameduck", Name: name, Help: help},
			func() float64 { return number(passes(app.Probes.Status())) }))
	}
	probe("live", "Whether the liveness probe passes.", func(s probes.Status) bool { return s.Live })
	probe("ready", "Whether the readiness probe passes.", func(s probes.Status) bool { return s.Ready })
	probe("shutting_down", "Whether the shutdown has begun.", func(s probes.Status) bool { return s.ShuttingDown })

	passing := gauge("check_passing", "Whether a check passes.", "check")
	changes := counter("changes_total", "Changes of the state of a probe, or of one of its checks.", "probe", "check", "to")
	app.Probes.OnChange = func(c probes.Change) {
		if c.Check != "" {
			passing.WithLabelValues(c.Check).Set(number(c.To == "passing"))
		}
		changes.WithLabelValues(c.Probe, c.Check, c.To).Inc()
	}

	took := gauge("component_seconds", "How long a component took to start or to stop.", "component", "op")
	faults := counter("component_faults_total", "Components that failed or were left behind.", "component", "fate")
	phases := gauge("phase_seconds", "How long a phase of the shutdown took.", "phase")
	requests := counter("shutdown_requests_total", "Requests that came since the shutdown began, those cancelled, and what was cut.", "component", "fate")
	ended := make(map[string]time.Duration) // the phases, after T0
	over := func(phase, before string, at time.Duration) {
		ended[phase] = at
		phases.WithLabelValues(phase).Set((at - ended[before]).Seconds())
	}
	app.Observers = append(app.Observers, func(e lifecycle.Event) {
		switch e.Instant {
		case "ComponentStarted":
			took.WithLabelValues(e.Component, "start").Set(e.Took.Seconds())
		case "ComponentStopped":
			took.WithLabelValues(e.Component, "stop").Set(e.Took.Seconds())
		case "ComponentFailed":
			faults.WithLabelValues(e.Component, "failed").Inc()
		case "ComponentLeftBehind":
			faults.WithLabelValues(e.Component, "left behind").Inc()
		case "AcceptWindowClosed":
			over("accept window", "", e.Took)
		case "Drained":
			over("drain", "accept window", e.Took)
			if e.Drain != nil { // of a server
				requests.WithLabelValues(e.Component, "served").Add(float64(e.Drain.Total().Requests))
				requests.WithLabelValues(e.Component, "cancelled").Add(float64(e.Drain.Cancelled))
				requests.WithLabelValues(e.Component, "cut").Add(float64(len(e.Drain.Cut)))
			}
		case "ComponentsStopped":
			over("components", "drain", e.Took)
		case "Flushed":
			over("flush", "components", e.Took)
		}
	})
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
