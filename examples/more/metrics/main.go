// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command metrics is a service that Prometheus can watch to its last moment: it is
// scraped on the listener of the probes, which is closed when all else is over. Copy
// bridge.go, and put your own in place of work.
//
// It listens on $PORT (8080) and serves /livez, /readyz, /startupz and /metrics on
// $PROBE_PORT (8081).
package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() { lifecycle.Main(newApp(port("PORT", "8080"), port("PROBE_PORT", "8081"))) }

func newApp(addr, probeAddr string) *lifecycle.App {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux, admin := http.NewServeMux(), http.NewServeMux()
	mux.HandleFunc("/work", work)
	admin.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		Probes:     new(probes.Registry),
		ProbeAddr:  probeAddr,
		Admin:      admin,
		Components: []lifecycle.Component{lifecycle.HTTP("http", srv)},
	}
	bridge(app, registry)
	return app
}
