// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command byhand is ../service with net/http alone, written as carefully as one
// would by hand. It is here to be compared, not to be copied: COMPARED.md of package
// lifecycle says what it still loses.
package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		slog.Error("failed", "error", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	db := new(store)
	if err := db.Open(ctx); err != nil {
		return err
	}
	w := newWorker(db)
	working, stopWork := context.WithCancel(context.Background())
	defer stopWork()
	failed := make(chan error, 4)
	worked := make(chan struct{})
	go func() { defer close(worked); failed <- w.Run(working) }()

	var ready atomic.Bool
	orders, admin, probes := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	orders.HandleFunc("/orders", w.add)
	admin.HandleFunc("/done", db.list)
	probes.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	probes.HandleFunc("/readyz", func(rw http.ResponseWriter, r *http.Request) {
		if !ready.Load() || db.Ping(r.Context()) != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	servers := []*http.Server{
		{Addr: port("PROBE_PORT", "8081"), Handler: probes},
		{Addr: port("PORT", "8080"), Handler: orders},
		{Addr: port("ADMIN_PORT", "8082"), Handler: admin},
	}
	for _, srv := range servers {
		l, err := net.Listen("tcp", srv.Addr)
		if err != nil {
			return err
		}
		go func() { failed <- srv.Serve(l) }()
	}
	ready.Store(true)
	var errs []error
	select {
	case err := <-failed:
		errs = append(errs, err)
	case <-ctx.Done():
	}
	stop() // the second signal kills
	ready.Store(false)
	time.Sleep(5 * time.Second)

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	errs = append(errs, servers[1].Shutdown(ctx), servers[2].Shutdown(ctx))
	w.close()
	select {
	case <-worked:
	case <-ctx.Done():
		errs = append(errs, errors.New("orders are lost"))
	}
	errs = append(errs, db.Close(ctx), servers[0].Shutdown(ctx))
	return errors.Join(errs...)
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
