// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command oklogrun is ../../service with github.com/oklog/run. It is here to be compared,
// not to be copied: COMPARED.md of package lifecycle says what it loses.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/oklog/run"
)

func main() {
	db := new(store)
	if err := db.Open(context.Background()); err != nil {
		log.Fatal(err)
	}
	w := newWorker(db)
	orders, admin, probes := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	orders.HandleFunc("/orders", w.add)
	admin.HandleFunc("/done", db.list)
	probes.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	probes.HandleFunc("/readyz", func(rw http.ResponseWriter, r *http.Request) {
		if db.Ping(r.Context()) != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var g run.Group
	g.Add(run.SignalHandler(context.Background(), os.Interrupt, syscall.SIGTERM))
	for _, srv := range []*http.Server{
		{Addr: port("PORT", "8080"), Handler: orders},
		{Addr: port("ADMIN_PORT", "8082"), Handler: admin},
		{Addr: port("PROBE_PORT", "8081"), Handler: probes},
	} {
		l, err := net.Listen("tcp", srv.Addr)
		if err != nil {
			log.Fatal(err)
		}
		g.Add(func() error { return srv.Serve(l) }, func(error) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			srv.Shutdown(ctx)
		})
	}
	g.Add(func() error { return w.Run(context.Background()) }, func(error) { w.close() })
	err := g.Run()
	db.Close(context.Background())
	if !errors.Is(err, run.ErrSignal) {
		log.Fatal(err)
	}
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
