// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"iter"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/probes"
)

// unary has a drain.Server know of each call.
func unary(server *drain.Server) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, done := call(ctx, server, info.FullMethod)
		defer done()
		return handler(ctx, req)
	}
}

// stream does the same for streams.
func stream(server *drain.Server) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, done := call(ss.Context(), server, info.FullMethod)
		defer done()
		return handler(srv, &serverStream{ss, ctx})
	}
}

func call(ctx context.Context, server *drain.Server, method string) (context.Context, func()) {
	from, ok := peer.FromContext(ctx)
	if !ok { // a test has called the interceptor
		return ctx, func() {}
	}
	return server.Call(ctx, from.Addr, method)
}

// A serverStream is one with the context that Call has returned.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

// Told are credentials with which clients can be told to go one by one.
type told struct {
	credentials.TransportCredentials
}

func (t told) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	plain, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return drain.Decrypted(raw, plain), info, nil
}

// follow has the health service say what readiness is, and NOT_SERVING for good once
// the shutdown begins or nothing tells it any more.
func follow(readiness iter.Seq[probes.Status], status *health.Server) {
	defer status.Shutdown()
	for r := range readiness {
		s := healthgrpc.HealthCheckResponse_NOT_SERVING
		switch {
		case r.ShuttingDown:
			status.Shutdown() // NOT_SERVING for good
			continue
		case r.Ready:
			s = healthgrpc.HealthCheckResponse_SERVING
		}
		status.SetServingStatus("", s)
	}
}
