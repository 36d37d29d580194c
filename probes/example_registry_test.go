// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

// A process that can do without its cache is ready without it, and says so.
func ExampleCheck() {
	told := make(chan bool, 10)
	registry := &probes.Registry{OnChange: func(c probes.Change) { told <- c.Check == "cache" }}
	err := registry.AddReadiness(probes.Check{
		Name:     "cache",
		Func:     func(context.Context) error { return errors.New("connection refused") },
		Timeout:  5 * time.Second,
		Interval: 10 * time.Second,
		Optional: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry.Started()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	for !<-told { // until it has been asked
	}
	probe(registry.Handler(), "/readyz?verbose")
	cancel()
	<-done
	// Output:
	// /readyz?verbose 200 ok, degraded: cache
	// [~]cache degraded: connection refused
}

// Every change of a check and of a probe goes to a function, in order.
func ExampleChange() {
	told := make(chan probes.Change, 10)
	registry := &probes.Registry{OnChange: func(c probes.Change) { told <- c }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- registry.Run(ctx) }()
	registry.Started()
	registry.Shutdown()
	cancel()
	<-done // all has been delivered
	close(told)
	for c := range told {
		fmt.Printf("%s: %s -> %s (%s)\n", c.Probe, c.From, c.To, c.Reason)
	}
	// Output:
	// readiness: failing -> passing (ok)
	// startup: failing -> passing (ok)
	// readiness: passing -> failing (not ready: shutting down)
}

// How long the process was not ready.
func ExampleRegistry_History() {
	var registry probes.Registry
	registry.Started()
	registry.Maintain("new disks", time.Hour)
	registry.EndMaintenance()
	var since time.Time
	for _, c := range registry.History() {
		switch {
		case c.Probe != "readiness":
		case c.To == "failing":
			since = c.Time
		case !since.IsZero():
			fmt.Println("less than an hour:", c.Time.Sub(since) < time.Hour)
		}
	}
	// Output: less than an hour: true
}

// A service that other parts of the cluster reach by its endpoint alone may keep
// serving until its listener is closed.
func ExampleMoment() {
	for _, at := range []probes.Moment{probes.AtShutdown, probes.AtAcceptWindowClosed, probes.Never} {
		registry := &probes.Registry{RedAt: at}
		registry.Started()
		registry.Shutdown()
		probe(registry.ReadyHandler(), "/readyz")
		registry.AcceptWindowClosed()
		probe(registry.ReadyHandler(), "/readyz")
	}
	// Output:
	// /readyz 503 not ready: shutting down
	// /readyz 503 not ready: shutting down
	// /readyz 200 ok
	// /readyz 503 not ready: shutting down
	// /readyz 200 ok
	// /readyz 200 ok
}

// A Status is comparable, and what a loop of Watch is given.
func ExampleStatus() {
	var registry probes.Registry
	tell := func(s probes.Status) {
		fmt.Printf("live: %v, started: %v, ready: %v, serving: %v %q\n", s.Live, s.Started, s.Ready, s.Serving, s.Reason)
	}
	tell(registry.Status())
	registry.Started()
	tell(registry.Status())
	registry.Shutdown()
	tell(registry.Status())
	// Output:
	// live: true, started: false, ready: false, serving: false "not ready: starting"
	// live: true, started: true, ready: true, serving: true ""
	// live: true, started: true, ready: false, serving: true "not ready: shutting down"
}

// The loop of a worker says that it goes on, and at its end that it is not missed.
func ExampleHeartbeat() {
	var registry probes.Registry
	beat, err := registry.AddHeartbeat("worker", time.Nanosecond) // so that it is late
	if err != nil {
		fmt.Println(err)
		return
	}
	time.Sleep(time.Millisecond)
	probe(registry.LiveHandler(), "/livez")
	beat.Beat()
	beat.Stop()
	probe(registry.LiveHandler(), "/livez")
	// Output:
	// /livez 503 not live: worker
	// /livez 200 ok
}
