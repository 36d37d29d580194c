// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"net"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// A stuck service hangs under profiler labels of its own, which have replaced those of
// its component.
type stuck struct {
	testgrpc.UnimplementedTestServiceServer
	begun, release chan struct{}
}

func (s *stuck) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	pprof.Do(context.Background(), pprof.Labels("tenant", "t1"), func(context.Context) { stuckUnderItsLabels(s) })
	return new(testgrpc.Empty), nil
}

func stuckUnderItsLabels(s *stuck) {
	close(s.begun)
	<-s.release
}

// TestStacksOfACallThatHangs: they are in the report whatever the handler has made of
// the labels, because gRPC's own function, in which it runs, is known by its name.
func TestStacksOfACallThatHangs(t *testing.T) {
	s := &stuck{begun: make(chan struct{}), release: make(chan struct{})}
	app := newApp(s)
	app.ProbeAddr, app.GracePeriod, app.Reserve = "", 2*time.Second, 500*time.Millisecond
	l, err := drain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	app.Components[1].Listen = func(context.Context) (net.Listener, error) { return l, nil }
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	called := make(chan struct{})
	go func() {
		defer close(called)
		testgrpc.NewTestServiceClient(dial(t, l.Addr().String())).EmptyCall(t.Context(), new(testgrpc.Empty))
	}()
	<-s.begun
	cancel(errors.New("enough"))
	require.ErrorIs(t, <-ended, lifecycle.ErrDeadline)
	close(s.release)
	<-called
	stacks := app.Report().Components[1].Stacks
	assert.Contains(t, stacks, "without its label, but in its functions: 1 @ ")
	assert.Contains(t, stacks, "stuckUnderItsLabels")
	assert.Contains(t, stacks, "google.golang.org/grpc.(*Server).handleStream")
}
