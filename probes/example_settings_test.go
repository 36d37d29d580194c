// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"net/http"
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
