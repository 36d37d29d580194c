// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

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
