// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kubelet

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lameduck-go/lameduck/probes/checks"
)

// checks.GRPC knows grpc by the shape of its types only: here are the real ones.
func TestGRPCCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, state := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	client := healthpb.NewHealthClient(conn)

	all := checks.GRPC(client, &healthpb.HealthCheckRequest{})
	orders := checks.GRPC(client, &healthpb.HealthCheckRequest{Service: "orders"})
	assert.NoError(t, all(t.Context()))
	assert.ErrorContains(t, orders(t.Context()), "NotFound")
	state.SetServingStatus("orders", healthpb.HealthCheckResponse_SERVING)
	assert.NoError(t, orders(t.Context()))
	state.Shutdown()
	assert.EqualError(t, orders(t.Context()), "grpc health: NOT_SERVING")
	server.Stop()
	assert.NoError(t, <-served)
	assert.ErrorContains(t, all(t.Context()), "Unavailable")
	assert.NoError(t, conn.Close())
}
