// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command tracing is a service whose shutdown is a trace of OpenTelemetry: a span for
// each phase and each component, exported from the reserve, when all else has stopped.
// Copy bridge.go, and put your own in place of work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on $PROBE_PORT
// (8081). The spans go to $OTEL_EXPORTER_OTLP_ENDPOINT (https://localhost:4318), and are of
// $OTEL_SERVICE_NAME.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/lameduck-go/lameduck/lifecycle"
)

func main() {
	exporter, err := otlptracehttp.New(context.Background()) // which connects to nobody yet
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(2)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work)
	srv := &http.Server{Addr: port("PORT", "8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		ProbeAddr:  port("PROBE_PORT", "8081"),
		Components: []lifecycle.Component{lifecycle.HTTP("http", srv)},
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	otel.SetTracerProvider(provider) // for the spans of others, which end before the last export
	bridge(app, provider)
	lifecycle.Main(app)
}
