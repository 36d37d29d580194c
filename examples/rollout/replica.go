// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// What ends a replica.
const (
	exit     = "exit"     // the signal's default action
	shutdown = "shutdown" // http.Server.Shutdown at once
	sleep    = "sleep"    // the usual recipe: sleep, then http.Server.Shutdown
	lameduck = "lameduck"
)

var allStrategies = []string{exit, shutdown, sleep, lameduck}

// The environment of a replica.
const (
	strategyEnv = "ROLLOUT_STRATEGY" // its presence makes this program a replica
	idEnv       = "ROLLOUT_ID"
	sleepEnv    = "ROLLOUT_SLEEP"
)

// replica is the main of one replica. It writes its instants to stdout, one JSON
// object a line, and what goes wrong to stderr.
func replica(strategy string) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	go leaveWithParent()
	id := os.Getenv(idEnv)
	srv := &http.Server{
		Addr: "127.0.0.1:" + os.Getenv("PORT"),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(5 * time.Millisecond)
			w.Header().Set("Server-Id", id)
			io.WriteString(w, "ok")
		}),
	}
	if strategy == lameduck {
		lifecycle.Main(&lifecycle.App{
			Components: []lifecycle.Component{lifecycle.HTTP("http", srv)},
			Flush:      func(context.Context) error { return nil }, // a service has exporters here
			Observers:  []func(lifecycle.Event){func(e lifecycle.Event) { tell(e.Instant, e.Time) }},
		})
	}
	naive(strategy, srv)
}

// tell writes an instant to the parent.
func tell(instant string, at time.Time) {
	json.NewEncoder(os.Stdout).Encode(told{instant, at})
}

// A told is a line of a replica's output.
type told struct {
	Instant string    `json:"instant"`
	Time    time.Time `json:"time"`
}

// leaveWithParent exits when the parent is gone, in whatever way: the pipe to
// stdin, which nobody writes to, then ends.
func leaveWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// naive serves without the library.
func naive(strategy string, srv *http.Server) {
	ctx := context.Background()
	if strategy != exit {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGTERM)
		defer stop()
	}
	l, err := net.Listen("tcp", srv.Addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tell("Started", time.Now())
	go srv.Serve(l)
	<-ctx.Done()
	tell("ShutdownInitiated", time.Now())
	if strategy == sleep {
		d, _ := time.ParseDuration(os.Getenv(sleepEnv))
		time.Sleep(d)
	}
	tell("AcceptWindowClosed", time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	srv.Shutdown(ctx)
}

// A mark is an instant in the life of a replica.
type mark struct {
	Instant string        `json:"instant"`
	At      time.Duration `json:"at"`
}

// parseMark reads a line of a replica's output.
func parseMark(line []byte) (instant string, at time.Time, ok bool) {
	var m told
	if json.Unmarshal(line, &m) != nil || m.Instant == "" {
		return "", time.Time{}, false
	}
	return m.Instant, m.Time, true
}
