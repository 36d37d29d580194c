// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command ory serves with github.com/ory/graceful, as its README does.
package main

import (
	"log"
	"net/http"

	"github.com/ory/graceful"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
)

func main() {
	work.Ready()
	srv := graceful.WithDefaults(&http.Server{Addr: work.Addr(), Handler: work.Handler()})
	if err := graceful.Graceful(srv.ListenAndServe, srv.Shutdown); err != nil {
		log.Fatal(err)
	}
}
