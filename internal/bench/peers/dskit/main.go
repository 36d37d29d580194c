// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command dskit serves with the server package of github.com/grafana/dskit, which
// handles the signals.
package main

import (
	"log"
	"net"
	"strconv"

	"github.com/grafana/dskit/flagext"
	"github.com/grafana/dskit/server"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
)

func main() {
	work.Ready()
	var cfg server.Config
	flagext.DefaultValues(&cfg)
	host, port, _ := net.SplitHostPort(work.Addr())
	cfg.HTTPListenAddress, cfg.GRPCListenAddress, cfg.GRPCListenPort = host, host, 0
	cfg.HTTPListenPort, _ = strconv.Atoi(port)
	srv, err := server.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown()
	srv.HTTP.PathPrefix("/").Handler(work.Handler())
	if err := srv.Run(); err != nil {
		log.Fatal(err)
	}
}
