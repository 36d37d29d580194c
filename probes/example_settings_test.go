// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// Probes of an older manifest, and of a balancer that takes 404 for maintenance, keep
// their paths and status codes.
func ExampleRegistry() {
	registry := &probes.Registry{
		LivePath:    "/live",
		ReadyPath:   "/ready",
		StartupPath: "/started",
		ServingPath: "/serving",
		FailureCode: http.StatusInternalServerError,
		OffCode:     http.StatusNotFound,
		Details:     func(*http.Request) bool { return false }, // no text of an error, to nobody
	}
	probe(registry.Handler(), "/started")
	registry.Started()
	probe(registry.Handler(), "/ready")
	registry.Shutdown()
	probe(registry.Handler(), "/ready")
	probe(registry.ServingHandler(), "/serving") // until the listener is closed
	probe(registry.Handler(), "/live")
	// Output:
	// /started 500 not ready: starting
	// /ready 200 ok
	// /ready 404 not ready: shutting down
	// /serving 200 ok
	// /live 200 ok
}

// A database that all replicas share is asked less often, and not by all at one moment,
// more often while it is down; one failure of three is an accident, and a replica that
// starts takes it to be there.
func ExampleCheck_settings() {
	var registry probes.Registry
	err := registry.AddReadiness(
		probes.Check{
			Name:             "db",
			Func:             func(context.Context) error { return nil },
			Interval:         2 * probes.DefaultInterval,
			FailingInterval:  time.Second,
			Timeout:          2 * probes.DefaultTimeout,
			Jitter:           5 * time.Second,
			FailureThreshold: 3,
			SuccessThreshold: 2,
			InitiallyPassing: true,
			Tolerate:         time.Minute,
			TolerateShare:    0.01, // a minute in a hundred
		},
		probes.Check{ // it costs a search: only when a probe asks, and once for all probes of 30 s
			Name:     "search",
			Func:     func(context.Context) error { return nil },
			TTL:      30 * time.Second,
			Optional: true,
		},
	)
	fmt.Println(err)
	registry.Started()
	probe(registry.Handler(), "/readyz")
	// Output:
	// <nil>
	// /readyz 200 ok, degraded: search
}

// Every change is one line of the log.
func ExampleRegistry_log() {
	registry := &probes.Registry{Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey { // to make it an example that can be compared
				return slog.Attr{}
			}
			return a
		},
	}))}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	registry.Started()
	registry.Shutdown()
	cancel()
	<-done
	// Output:
	// level=INFO msg="probes: probe passes" probe=readiness
	// level=INFO msg="probes: probe passes" probe=startup
	// level=INFO msg="probes: probe fails" probe=readiness reason="not ready: shutting down"
}

// A restart is what helps against a deadlock.
func ExampleRegistry_AddLock() {
	var registry probes.Registry
	var orders sync.RWMutex
	fmt.Println(registry.AddLock("orders", orders.RLocker(), time.Second))
	probe(registry.LiveHandler(), "/livez?verbose")
	// Output:
	// <nil>
	// /livez?verbose 200 ok
	// [+]orders ok
}

// A check that panics is failing, and a test or an alert can ask for the defect.
func ExampleRegistry_Panics() {
	told := make(chan struct{}, 1)
	registry := &probes.Registry{OnChange: func(c probes.Change) {
		if c.Check == "db" {
			told <- struct{}{}
		}
	}}
	err := registry.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error { panic("no pool") }})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	<-told
	cancel()
	<-done
	fmt.Println(registry.Panics())
	// Output:
	// map[db:panic: no pool]
}

// A balancer that only connects finds the port open exactly while the process is ready.
func ExampleRegistry_ServeTCP() {
	var registry probes.Registry
	registry.Started()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := registry.ServeTCP(ctx, ":8082"); err != nil {
		fmt.Println(err)
	}
}
