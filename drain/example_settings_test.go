// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
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
