// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command oklogrun serves with github.com/oklog/run.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/oklog/run"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
)

func main() {
	work.Ready()
	srv := &http.Server{Addr: work.Addr(), Handler: work.Handler()}
	var g run.Group
	g.Add(run.SignalHandler(context.Background(), os.Interrupt, syscall.SIGTERM))
	g.Add(srv.ListenAndServe, func(error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := g.Run(); !errors.Is(err, run.ErrSignal) {
		log.Fatal(err)
	}
}
