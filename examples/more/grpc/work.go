// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/lameduck-go/lameduck/drain"
)

// Work is a service that grpc-go has for its own tests.
type work struct {
	testgrpc.UnimplementedTestServiceServer
}

// UnaryCall answers what it was sent, after 5 ms.
func (work) UnaryCall(ctx context.Context, r *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	select {
	case <-time.After(5 * time.Millisecond):
		return &testgrpc.SimpleResponse{Payload: r.Payload}, nil
	case <-ctx.Done(): // the client has gone, or the grace period is nearly over
		return nil, context.Cause(ctx)
	}
}

// StreamingOutputCall sends what was asked for, at the intervals asked for. Asked for
// nothing it sends an event each 100 ms, until the client is told to go.
func (work) StreamingOutputCall(r *testgrpc.StreamingOutputCallRequest, out grpc.ServerStreamingServer[testgrpc.StreamingOutputCallResponse]) error {
	ctx := out.Context()
	send := func(size int32, wait time.Duration) error {
		select {
		case <-time.After(wait):
			return out.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, size)}})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, p := range r.ResponseParameters {
		if err := send(p.Size, time.Duration(p.IntervalUs)*time.Microsecond); err != nil {
			return err
		}
	}
	for len(r.ResponseParameters) == 0 {
		select {
		case <-drain.Draining(ctx):
			return nil // the client comes back, to another server
		default:
		}
		if err := send(10, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall adds up what it is sent.
func (work) StreamingInputCall(in grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	var sum int
	for {
		r, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(r.Payload.GetBody())
	}
}

// FullDuplexCall echoes until the client has said its last word.
func (work) FullDuplexCall(both grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	for {
		r, err := both.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = both.Send(&testgrpc.StreamingOutputCallResponse{Payload: r.Payload})
		}
		if err != nil {
			return err
		}
	}
}

func port(name, def string) string {
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), def), 10, 16)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %q is not a port number\n", name, os.Getenv(name))
		os.Exit(2)
	}
	return fmt.Sprint(":", n)
}
