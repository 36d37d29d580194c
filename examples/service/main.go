// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command service has what most services have: two servers, a worker that takes
// jobs from one of them, a database that all of them need, and probes.
//
// It listens on $PORT (8080), $ADMIN_PORT (8082) and, for the probes, $PROBE_PORT
// (8081). ../byhand does the same with net/http alone; COMPARED.md of package
// lifecycle says what it still loses.
package main

import (
	"cmp"
	"net/http"
	"os"

	"github.com/lameduck-go/lameduck/lifecycle"
)

func main() {
	db := new(store)
	w := newWorker(db)
	orders, admin := http.NewServeMux(), http.NewServeMux()
	orders.HandleFunc("/orders", w.add)
	admin.HandleFunc("/done", db.list)
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: port("PROBE_PORT", "8081"),
		Components: []lifecycle.Component{
			{Name: "db", Start: db.Open, Stop: db.Close, Ready: db.Ping},
			{Name: "worker", DependsOn: []string{"db"}, Run: w.Run, Drain: w.Drain},
			lifecycle.HTTP("orders", &http.Server{Addr: port("PORT", "8080"), Handler: orders}, "worker"),
			lifecycle.HTTP("admin", &http.Server{Addr: port("ADMIN_PORT", "8082"), Handler: admin}, "db"),
		},
	})
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
