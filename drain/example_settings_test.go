// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/probes"
)

// Behind a load balancer with health checks of its own the accept window lasts until
// that has been told three times that the process is going.
func ExampleServer_WatchProbes() {
	var registry probes.Registry
	mux := http.NewServeMux()
	srv := &drain.Server{
		HTTP:             &http.Server{Handler: mux},
		FailureThreshold: 3,
		Cap:              40 * time.Second, // however often it asks
		Spread:           10 * time.Second, // in which WebSockets and streams are told to go
		Route: func(r *http.Request) string { // names what was cut
			_, pattern := mux.Handler(r)
			return pattern
		},
	}
	go http.ListenAndServe(":8081", srv.WatchProbes(registry.Handler()))
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.Serve(l))
}

// A balancer that takes 20 s to notice, and asks with a path and an agent of its own;
// clients that pause for longer than others between two requests.
func ExampleServer_settings() {
	srv := &drain.Server{
		HTTP:    &http.Server{Addr: ":8080"},
		Floor:   4 * drain.DefaultFloor,
		Cap:     2 * drain.DefaultCap,
		Linger:  2 * drain.DefaultLinger,
		Silent:  2 * drain.DefaultSilent,
		IsProbe: func(r *http.Request) bool { return drain.IsProbe(r) || r.URL.Path == "/check" },
	}
	fmt.Println("accepts for", srv.Floor, "at least, and", srv.Cap, "at most")
	fmt.Println("keeps idle connections for", srv.Linger, "and silent ones for", srv.Silent)
	fmt.Println("a probe:", srv.IsProbe(httptest.NewRequest("HEAD", "/check", nil)))
	fmt.Println("a request that goes on is told", drain.CancelMargin, "before the deadline")
	// Output:
	// accepts for 20s at least, and 30s at most
	// keeps idle connections for 4s and silent ones for 4s
	// a probe: true
	// a request that goes on is told 3s before the deadline
}

// Without package lifecycle the probes are told by the program, here those that go red
// only when nobody can connect any more.
func ExampleServer_AcceptWindowClosed() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	registry := &probes.Registry{RedAt: probes.AtAcceptWindowClosed}
	registry.Started()
	srv := &drain.Server{HTTP: &http.Server{}, Floor: -1}
	go srv.Serve(l)

	registry.Shutdown()
	fmt.Println("ready:", registry.Status().Ready)
	drained := make(chan error)
	go func() {
		_, err := srv.Drain(context.Background())
		drained <- err
	}()
	<-srv.AcceptWindowClosed()
	registry.AcceptWindowClosed()
	fmt.Println("ready:", registry.Status().Ready)
	fmt.Println("error:", <-drained)
	// Output:
	// ready: true
	// ready: false
	// error: <nil>
}

// Certificates are given as to an http.Server, or are in its TLSConfig.
func ExampleServer_ServeTLS() {
	l, err := net.Listen("tcp", ":8443")
	if err != nil {
		log.Fatal(err)
	}
	srv := &drain.Server{HTTP: &http.Server{}}
	go func() { log.Println(srv.ServeTLS(l, "tls.crt", "tls.key")) }()
	report, err := srv.Drain(context.Background())
	fmt.Println(report, err)
}
