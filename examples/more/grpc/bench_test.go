// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// An empty service answers at once.
type empty struct {
	testgrpc.UnimplementedTestServiceServer
}

func (empty) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	return new(testgrpc.Empty), nil
}

// BenchmarkCall is what a drain.Server costs a call, beside grpc-go alone.
func BenchmarkCall(b *testing.B) {
	call := func(b *testing.B, addr string) {
		c := &client{view: &view{new(routes), map[string]time.Time{addr: {}}}}
		conn := c.connect()
		defer conn.Close()
		service, request := testgrpc.NewTestServiceClient(conn), new(testgrpc.Empty)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := service.EmptyCall(b.Context(), request); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("grpc-go", func(b *testing.B) {
		srv := grpc.NewServer()
		testgrpc.RegisterTestServiceServer(srv, empty{})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		call(b, l.Addr().String())
		srv.Stop()
		<-served
	})
	b.Run("lameduck", func(b *testing.B) {
		server, addr, served := startHere(b, empty{})
		call(b, addr)
		server.Drain(b.Context())
		<-served
	})
}
