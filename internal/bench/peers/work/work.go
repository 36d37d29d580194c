// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package work is what all the programs beside it serve, so that they differ only in
// how they start and stop.
package work

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// takes is how long a request takes.
const takes = 5 * time.Millisecond

// Addr is where to serve.
func Addr() string { return "127.0.0.1:" + os.Getenv("PORT") }

// Probes is where to answer the readiness probe, at /readyz.
func Probes() string { return "127.0.0.1:" + os.Getenv("PROBE_PORT") }

// Handler answers each request alike.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(takes)
		io.WriteString(w, "ok")
	})
}

// Ready answers the probe for those that leave probes to others: with 200 as soon as
// there is somebody at Addr.
func Ready() {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		conn, err := net.Dial("tcp", Addr())
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		conn.Close()
	}
	go func() { log.Fatal(http.ListenAndServe(Probes(), http.HandlerFunc(handler))) }()
}
