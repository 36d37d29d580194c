// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command fx is ../../service with go.uber.org/fx. It is here to be compared, not to be
// copied: COMPARED.md of package lifecycle says what it loses.
package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"go.uber.org/fx"
)

func main() {
	fx.New(
		fx.StopTimeout(25*time.Second),
		fx.Provide(newStore, newStartedWorker),
		fx.Invoke(serve),
	).Run()
}

func newStore(lc fx.Lifecycle) *store {
	db := new(store)
	lc.Append(fx.Hook{OnStart: db.Open, OnStop: db.Close})
	return db
}

func newStartedWorker(lc fx.Lifecycle, down fx.Shutdowner, db *store) *worker {
	w := newWorker(db)
	done := make(chan struct{})
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			go func() {
				defer close(done)
				if err := w.Run(context.Background()); err != nil {
					down.Shutdown(fx.ExitCode(1))
				}
			}()
			return nil
		},
		OnStop: func(context.Context) error { w.close(); <-done; return nil },
	})
	return w
}

func serve(lc fx.Lifecycle, down fx.Shutdowner, db *store, w *worker) {
	orders, admin, probes := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	orders.HandleFunc("/orders", w.add)
	admin.HandleFunc("/done", db.list)
	probes.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
	probes.HandleFunc("/readyz", func(rw http.ResponseWriter, r *http.Request) {
		if db.Ping(r.Context()) != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for _, srv := range []*http.Server{
		{Addr: port("PROBE_PORT", "8081"), Handler: probes},
		{Addr: port("ADMIN_PORT", "8082"), Handler: admin},
		{Addr: port("PORT", "8080"), Handler: orders},
	} {
		lc.Append(fx.Hook{
			OnStart: func(context.Context) error {
				l, err := net.Listen("tcp", srv.Addr)
				if err != nil {
					return err
				}
				go func() {
					if srv.Serve(l) != http.ErrServerClosed {
						down.Shutdown(fx.ExitCode(1))
					}
				}()
				return nil
			},
			OnStop: srv.Shutdown,
		})
	}
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
