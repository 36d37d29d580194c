// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// What ends a replica.
const (
	exit     = "exit"     // the signal's default action
	shutdown = "shutdown" // http.Server.Shutdown at the signal
	sleep    = "sleep"    // not ready from the signal on, a sleep, then Shutdown
	preStop  = "prestop"  // as shutdown, after a sleep before the signal
	lameduck = "lameduck"
)

const (
	replicaEnv = "DATAPLANE_REPLICA" // its presence makes this program a replica
	idEnv      = "DATAPLANE_ID"
	eventsFD   = 3 // a replica tells the rig there what it runs

	workPort, probePort = "8080", "8081"

	sleeps        = 5 * time.Second  // of the strategy sleep
	preStopSleeps = 20 * time.Second // of preStop
	defaultWork   = 5 * time.Millisecond
)

// replica is the main of a replica. It logs its instants to stdout, as JSON.
func replica(strategy string) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	s := &service{id: os.Getenv(idEnv), events: os.NewFile(eventsFD, "events")}
	mux := http.NewServeMux()
	mux.Handle("/", s)
	srv := &http.Server{Addr: ":" + workPort, Handler: mux, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	if strategy == lameduck {
		registry := new(probes.Registry)
		registry.Mount(mux) // for those who ask where the work is
		lifecycle.Main(&lifecycle.App{
			Probes:     registry,
			ProbeAddr:  ":" + probePort,
			Components: []lifecycle.Component{lifecycle.HTTP("http", srv)},
		})
	}
	if err := naive(strategy, srv, mux); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// naive serves without the library.
func naive(strategy string, srv *http.Server, mux *http.ServeMux) error {
	ctx := context.Background()
	if strategy != exit {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGTERM)
		defer stop()
	}
	var leaving atomic.Bool
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	failed := make(chan error, 2)
	for _, srv := range []*http.Server{srv, {Addr: ":" + probePort, Handler: mux}} {
		l, err := net.Listen("tcp", srv.Addr)
		if err != nil {
			return err
		}
		go func() { failed <- srv.Serve(l) }()
	}
	slog.Info("listening", "instant", "Started")
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	leaving.Store(true)
	if strategy == sleep {
		time.Sleep(sleeps)
	}
	slog.Info("closing", "instant", "AcceptWindowClosed")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}

// A service answers ?bytes= bytes after ?ms= milliseconds. It writes an event
// when it begins and one when it is done, unbuffered, so that what is on the books
// is what has happened, however the process ends.
type service struct {
	id     string
	events io.Writer
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Request-Id")
	fmt.Fprintf(s.events, "+%s\n", id)
	defer fmt.Fprintf(s.events, "-%s\n", id)
	io.Copy(io.Discard, r.Body)
	q := r.URL.Query()
	ms, err1 := strconv.ParseUint(cmp.Or(q.Get("ms"), fmt.Sprint(defaultWork.Milliseconds())), 10, 16)
	size, err2 := strconv.ParseUint(cmp.Or(q.Get("bytes"), "2"), 10, 20)
	if err1 != nil || err2 != nil {
		http.Error(w, "ms must be below 2^16, bytes below 2^20", http.StatusBadRequest)
		return
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	w.Header().Set("Server-Id", s.id)
	w.Header().Set("Content-Length", fmt.Sprint(size))
	io.WriteString(w, strings.Repeat("x", int(size)))
}
