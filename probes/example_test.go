// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// probe is what the kubelet does.
func probe(h http.Handler, path string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	fmt.Printf("%s %d %s", path, w.Code, w.Body)
}

func Example() {
	var registry probes.Registry
	asked := make(chan struct{}, 1)
	err := registry.AddReadiness(probes.Check{
		Name: "db",
		Func: func(ctx context.Context) error { asked <- struct{}{}; return nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux() // or a chi.Router
	registry.Mount(mux)

	probe(mux, "/readyz")
	registry.Started()
	probe(mux, "/startupz")
	probe(mux, "/readyz") // db has not been asked yet

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	<-asked

	registry.Shutdown() // the first thing to do when the process is to end
	probe(mux, "/readyz")
	probe(mux, "/livez")
	cancel()
	fmt.Println("Run:", <-done)
	// Output:
	// /readyz 503 not ready: starting
	// /startupz 200 ok
	// /readyz 503 not ready: db
	// /readyz 503 not ready: shutting down
	// /livez 200 ok
	// Run: <nil>
}

func ExampleRegistry_AddReadiness() {
	var registry probes.Registry
	err := registry.AddReadiness(probes.Check{Name: "db"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, probes.ErrInvalid))
	// Output:
	// probes: invalid check: readiness check "db" has no function
	// true
}

func ExampleRegistry_AddLiveness() {
	var registry probes.Registry
	beats := make(chan struct{}, 1) // the worker sends one with every turn
	err := registry.AddLiveness("worker", func() error {
		select {
		case <-beats:
			return nil
		default:
			return errors.New("no turn since the last check")
		}
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleRegistry_AddReadiness_dependencies() {
	var registry probes.Registry
	down := func(context.Context) error { return errors.New("connection refused") }
	never := func(context.Context) error { panic("not called") }
	err := registry.AddReadiness(
		probes.Check{Name: "orders", Func: never, DependsOn: []string{"db"}},
		probes.Check{Name: "users", Func: never, DependsOn: []string{"db"}},
		probes.Check{Name: "db", Func: down, Tolerate: time.Minute}, // shared by all replicas
		probes.Check{Name: "report", Func: never, DependsOn: []string{"users"}, Optional: true},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	registry.Started()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	for s := range registry.Watch(ctx) {
		if strings.Contains(s.Reason, "skipped") { // db has answered
			break
		}
	}
	probe(registry.Handler(), "/readyz")
	probe(registry.Handler(), "/readyz?verbose")
	cancel()
	fmt.Println(<-done)

	fmt.Println(registry.AddReadiness(
		probes.Check{Name: "a", Func: down, DependsOn: []string{"b"}},
		probes.Check{Name: "b", Func: down, DependsOn: []string{"a"}},
	))
	// Output:
	// /readyz 503 not ready: db; skipped: orders, users
	// /readyz?verbose 503 not ready: db; skipped: orders, users
	// [-]db failed: connection refused
	// [-]orders failed: skipped because of db
	// [~]report degraded: skipped because of db
	// [-]users failed: skipped because of db
	// <nil>
	// probes: invalid check: dependency cycle: a -> b -> a
}

func ExampleRegistry_AddHeartbeat() {
	var registry probes.Registry
	heartbeat, err := registry.AddHeartbeat("consumer", 30*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer heartbeat.Stop() // it has come to its end, and is not missed
		for range 3 {
			heartbeat.Beat() // first, and also if the turn fails or there is nothing to do
		}
	})
	wg.Wait()
	probe(registry.LiveHandler(), "/livez?verbose")
	// Output:
	// /livez?verbose 200 ok
	// [+]consumer ok
}

func ExampleRegistry_Expect() {
	var registry probes.Registry
	migrated, err := registry.Expect("migrations")
	if err != nil {
		fmt.Println(err)
		return
	}
	registry.Started()
	probe(registry.StartupHandler(), "/startupz")
	migrated()
	probe(registry.StartupHandler(), "/startupz")
	// Output:
	// /startupz 503 not ready: starting, missing: migrations
	// /startupz 200 ok
}

func ExampleRegistry_Maintain() {
	var registry probes.Registry
	registry.Started()
	registry.Maintain("new disks", time.Hour)
	probe(registry.ReadyHandler(), "/readyz")
	registry.EndMaintenance()
	probe(registry.ReadyHandler(), "/readyz")
	for _, c := range registry.History() {
		fmt.Printf("%s: %s -> %s (%s)\n", c.Probe, c.From, c.To, c.Reason)
	}
	// Output:
	// /readyz 503 not ready: maintenance
	// /readyz 200 ok
	// readiness: failing -> passing (ok)
	// startup: failing -> passing (ok)
	// readiness: passing -> failing (not ready: maintenance: new disks)
	// readiness: failing -> passing (ok)
}

func ExampleRegistry_Watch() {
	var registry probes.Registry
	for s := range registry.Watch(context.Background()) {
		fmt.Printf("ready: %v %q\n", s.Ready, s.Reason) // tell a service registry, say
		switch {
		case s.ShuttingDown:
			return
		case s.Ready:
			registry.Shutdown()
		default:
			registry.Started()
		}
	}
	// Output:
	// ready: false "not ready: starting"
	// ready: true ""
	// ready: false "not ready: shutting down"
}

// The probes on a listener of their own, which is closed when all else is over.
func ExampleRegistry_Handler() {
	registry := &probes.Registry{Prefix: "/internal", OffCode: http.StatusNotFound} // for HAProxy's disable-on-404
	srv := httptest.NewServer(registry.Handler())                                   // an http.Server of yours
	defer srv.Close()
	get := func(path string) {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		fmt.Println(path, resp.Status)
	}
	registry.Started()
	get("/internal/readyz")
	registry.Shutdown()
	get("/internal/readyz")
	get("/internal/servingz")
	registry.AcceptWindowClosed()
	get("/internal/servingz")
	get("/internal/livez")
	// Output:
	// /internal/readyz 200 OK
	// /internal/readyz 404 Not Found
	// /internal/servingz 200 OK
	// /internal/servingz 404 Not Found
	// /internal/livez 200 OK
}
