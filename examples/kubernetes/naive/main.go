// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command naive is ../main.go without the library, for kind.sh to measure beside it.
// With STRATEGY=shutdown it calls http.Server.Shutdown at SIGTERM, and without it has
// no handler at all.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	go http.ListenAndServe(":8081", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(5 * time.Millisecond)
		io.WriteString(w, strings.Repeat("x", 27_000))
	})}
	if os.Getenv("STRATEGY") != "shutdown" {
		// A program that is process 1 of its container dies of no signal that it does
		// not handle, but Go's runtime exits then.
		log.Fatal(srv.ListenAndServe())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go srv.ListenAndServe()
	<-ctx.Done()
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
