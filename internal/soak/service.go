// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

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
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// The environment of a replica.
const (
	replicaEnv = "SOAK_REPLICA" // the file for what it has left; makes this program a replica
	leakEnv    = "SOAK_LEAK"
	restEnv    = "SOAK_REST"
	parentEnv  = "SOAK_PARENT" // the process that has started it, which may be gone before it looks
)

// newService returns an App with a bit of everything: a store that can be asked, a
// worker that works and drains, a server of HTTP/1.1 and HTTP/2, and a prober that asks
// it for readiness on new connections, as the kubelet does.
func newService(l net.Listener, floor time.Duration, leak string) *lifecycle.App {
	var open atomic.Bool
	var jobs drain.Tracker
	registry := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work(leak))
	registry.Mount(mux)
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return &lifecycle.App{
		Probes:    registry,
		ProbeAddr: "127.0.0.1:" + cmp.Or(os.Getenv("PROBE_PORT"), "0"),
		Floor:     floor,
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Components: []lifecycle.Component{
			{
				Name:  "store",
				Start: func(context.Context) error { open.Store(true); return spill(leak) },
				Stop:  func(context.Context) error { open.Store(false); return nil },
				Ready: func(context.Context) error {
					if !open.Load() {
						return net.ErrClosed
					}
					return nil
				},
			},
			{Name: "worker", DependsOn: []string{"store"}, Run: jobber(&jobs), Drain: jobs.Drain},
			{
				Name: "http", DependsOn: []string{"store"}, Server: &drain.Server{HTTP: server},
				Listen: func(context.Context) (net.Listener, error) { return l, nil },
			},
			{Name: "prober", DependsOn: []string{"http"}, Run: prober(l.Addr().String())},
		},
		Flush: func(context.Context) error { return nil },
	}
}

// work reads the body, waits 2 ms, and answers with what it was sent.
func work(leak string) http.HandlerFunc {
	var served atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if leak == "request" && served.Add(1) == 1 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		time.Sleep(2 * time.Millisecond)
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}
}

// jobber does small jobs until it is drained, and stays until its context ends.
func jobber(jobs *drain.Tracker) func(context.Context) error {
	return func(ctx context.Context) error {
		return repeat(ctx, time.Millisecond, func(ctx context.Context) {
			if _, done, err := jobs.Start(ctx, "job"); err == nil {
				done()
			}
		})
	}
}

// prober asks for readiness until its context ends, which is after the server's end:
// what it is told then is of no matter.
func prober(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		return repeat(ctx, 20*time.Millisecond, func(ctx context.Context) {
			// Not by net/http, whose dial goes on when the context has ended.
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			io.Copy(io.Discard, conn)
		})
	}
}

func repeat(ctx context.Context, every time.Duration, f func(context.Context)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// spilt has the memory and the descriptors that were leaked.
var spilt struct {
	mu   sync.Mutex
	kept []any // guarded by mu
}

// spill leaks something of a kind.
func spill(kind string) error {
	var kept any
	switch kind {
	case "goroutine":
		go func() { select {} }()
	case "descriptor":
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		kept = f
	case "memory":
		kept = make([]byte, 1<<20)
	}
	spilt.mu.Lock()
	defer spilt.mu.Unlock()
	spilt.kept = append(spilt.kept, kept)
	return nil
}

// replica is the main of a replica, and returns its exit status. lifecycle.Main would
// exit before anybody can look at what the App has left.
func replica() int {
	rest, err := time.ParseDuration(os.Getenv(restEnv))
	if err != nil {
		fmt.Fprintf(os.Stderr, "replica: %s: %v\n", restEnv, err)
		return 1
	}
	parent, err := strconv.Atoi(os.Getenv(parentEnv))
	if err != nil {
		fmt.Fprintf(os.Stderr, "replica: %s: %v\n", parentEnv, err)
		return 1
	}
	go leaveWithParent(parent)
	before := warm()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = serve(ctx)
	stop()
	if err == nil {
		err = tell(os.Getenv(replicaEnv), atRest(before, rest).beyond(before))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "replica:", err)
		return 1
	}
	return 0
}

// leaveWithParent exits when the program that has started this one is gone, in whatever
// way.
func leaveWithParent(parent int) {
	for os.Getppid() == parent {
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(1)
}

func serve(ctx context.Context) error {
	l, err := drain.Listen(ctx, "tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	return newService(l, 0, os.Getenv(leakEnv)).Run(ctx)
}
