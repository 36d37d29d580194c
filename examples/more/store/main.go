// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command store is a service on PostgreSQL and Redis. It starts before they do, and
// waits; while one of them is away its readiness names that one, and not what depends
// on it. Copy it, and put your own in place of orders.go.
//
// It listens on $PORT (8080) and serves the probes on $PROBE_PORT (8081). Set
// $DATABASE_URL, as postgres://user:password@host/name, and $REDIS_URL.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes/checks"
)

func main() {
	config, err := pgx.ParseConfig(cmp.Or(os.Getenv("DATABASE_URL"), "postgres://postgres@localhost/postgres"))
	if err != nil {
		invalid("DATABASE_URL", err)
	}
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379"))
	if err != nil {
		invalid("REDIS_URL", err)
	}
	options.ContextTimeoutEnabled = true // a check and a request end when their contexts do
	db := stdlib.OpenDB(*config)         // sql.Open would find what is wrong with the URL at the first query
	cache := redis.NewClient(options)
	pong := checks.Redis(cache)
	orders := &orders{db, cache}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", orders.add)
	mux.HandleFunc("GET /orders", orders.count)
	srv := &http.Server{Addr: port("PORT", "8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: port("PROBE_PORT", "8081"),
		Components: []lifecycle.Component{
			{Name: "postgres", Start: await("postgres", db.PingContext), Ready: db.PingContext, Stop: closer(db.Close)},
			{Name: "redis", Start: await("redis", pong), Ready: pong, Stop: closer(cache.Close)},
			{Name: "orders", DependsOn: []string{"postgres", "redis"}, Start: orders.create, Ready: orders.ready},
			lifecycle.HTTP("http", srv, "orders"),
		},
	})
}

// await waits for a dependency, until the process is told to stop: a process that
// leaves instead is started again and again, each time a little later. What keeps it
// waiting is logged, since a wrong password is waited for as well.
func await(name string, ping func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for last := ""; ; {
			once, cancel := context.WithTimeout(ctx, time.Second)
			err := ping(once)
			cancel()
			if err == nil {
				return nil
			}
			if ctx.Err() == nil && err.Error() != last {
				last = err.Error()
				slog.Warn("waiting", "for", name, "error", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func closer(f func() error) func(context.Context) error {
	return func(context.Context) error { return f() }
}

func invalid(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(2)
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
