// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command grpc is a gRPC service that loses no call when it is replaced, with the
// health service and readiness that follow each other. Copy it, and put your own
// service in place of work.
//
// It listens on $PORT (8080), with TLS if $TLS_CERT and $TLS_KEY name files, and serves
// /livez, /readyz and /startupz over HTTP on $PROBE_PORT (8081).
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() { lifecycle.Main(newApp(work{})) }

func newApp(service testgrpc.TestServiceServer) *lifecycle.App {
	server := new(drain.Server)
	srv := grpc.NewServer(
		grpc.Creds(told{transport()}),
		grpc.ChainUnaryInterceptor(unary(server)),
		grpc.ChainStreamInterceptor(stream(server)),
	)
	server.GRPC = srv
	testgrpc.RegisterTestServiceServer(srv, service)
	status, registry := health.NewServer(), new(probes.Registry)
	status.SetServingStatus("", healthgrpc.HealthCheckResponse_NOT_SERVING) // until the first word of readiness
	healthgrpc.RegisterHealthServer(srv, status)
	return &lifecycle.App{
		Probes:    registry,
		ProbeAddr: port("PROBE_PORT", "8081"),
		Components: []lifecycle.Component{
			{Name: "health", Run: func(ctx context.Context) error { follow(registry.Watch(ctx), status); return nil }},
			{Name: "grpc", DependsOn: []string{"health"}, Server: server, Addr: port("PORT", "8080")},
		},
	}
}

// transport returns the credentials of the service.
func transport() credentials.TransportCredentials {
	cert, key := os.Getenv("TLS_CERT"), os.Getenv("TLS_KEY")
	if cert == "" && key == "" {
		return insecure.NewCredentials()
	}
	creds, err := credentials.NewServerTLSFromFile(cert, key)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return creds
}
