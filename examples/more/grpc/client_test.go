// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// A kind is a way in which clients call.
type kind struct {
	name     string
	calls    int           // side by side on one connection
	newConn  bool          // each call needs a connection of its own
	minThink time.Duration // between the end of a call and the next one
	maxThink time.Duration
	do       func(context.Context, testgrpc.TestServiceClient) error
}

const ms = time.Millisecond

var kinds = []kind{
	{name: "unary, no think time", calls: 1, do: callUnary},
	{name: "unary, 20 ms", calls: 1, minThink: 10 * ms, maxThink: 30 * ms, do: callUnary},
	{name: "unary, 300 ms", calls: 1, minThink: 150 * ms, maxThink: 450 * ms, do: callUnary},
	{name: "unary, 2 s", calls: 1, minThink: 1000 * ms, maxThink: 3000 * ms, do: callUnary},
	{name: "unary, 8 side by side", calls: 8, maxThink: 10 * ms, do: callUnary},
	{name: "unary, new connection", calls: 1, newConn: true, minThink: 10 * ms, maxThink: 30 * ms, do: callUnary},
	{name: "download, 4 side by side", calls: 4, maxThink: 20 * ms, do: download},
	{name: "upload, 4 side by side", calls: 4, maxThink: 20 * ms, do: upload},
	{name: "echo, 4 side by side", calls: 4, maxThink: 20 * ms, do: echo},
	{name: "endless stream", calls: 1, do: subscribe},
}

var body = &testgrpc.Payload{Body: make([]byte, 100)}

func callUnary(ctx context.Context, c testgrpc.TestServiceClient) error {
	_, err := c.UnaryCall(ctx, &testgrpc.SimpleRequest{Payload: body})
	return err
}

// download takes ten messages, one each 20 ms.
func download(ctx context.Context, c testgrpc.TestServiceClient) error {
	each := &testgrpc.ResponseParameters{Size: 100, IntervalUs: 20_000}
	s, err := c.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{ResponseParameters: slices.Repeat([]*testgrpc.ResponseParameters{each}, 10)})
	if err != nil {
		return err
	}
	n := 0
	for ; ; n++ {
		if _, err = s.Recv(); err != nil {
			break
		}
	}
	if err == io.EOF && n == 10 {
		return nil
	}
	return fmt.Errorf("after %d messages: %w", n, err)
}

// subscribe takes messages until the server ends the stream, which it may do cleanly.
func subscribe(ctx context.Context, c testgrpc.TestServiceClient) error {
	s, err := c.StreamingOutputCall(ctx, new(testgrpc.StreamingOutputCallRequest))
	for err == nil {
		_, err = s.Recv()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// upload sends ten messages, one each 20 ms.
func upload(ctx context.Context, c testgrpc.TestServiceClient) error {
	s, err := c.StreamingInputCall(ctx)
	if err != nil {
		return err
	}
	for range 10 {
		if s.Send(&testgrpc.StreamingInputCallRequest{Payload: body}) != nil {
			break // CloseAndRecv says why
		}
		time.Sleep(20 * ms)
	}
	sum, err := s.CloseAndRecv()
	if err == nil && sum.AggregatedPayloadSize != 1000 {
		return fmt.Errorf("%d of 1000 bytes have come", sum.AggregatedPayloadSize)
	}
	return err
}

// echo sends ten messages and takes the echo of each.
func echo(ctx context.Context, c testgrpc.TestServiceClient) error {
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 10 {
		if s.Send(&testgrpc.StreamingOutputCallRequest{Payload: body}) != nil {
			break // Recv says why
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
		time.Sleep(20 * ms)
	}
	s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

// A count is what became of the calls of a kind.
type count struct {
	sent, lost  int
	unavailable int // of those lost, by their status
	again       int // of those lost, that the client has sent again by itself
	dials       int
	first       error // of the losses
}

func (c *count) add(o count) {
	c.sent += o.sent
	c.lost += o.lost
	c.unavailable += o.unavailable
	c.again += o.again
	c.dials += o.dials
	if c.first == nil {
		c.first = o.first
	}
}

// A client is one of a kind, with a connection that grpc-go keeps.
type client struct {
	kind
	view  *view
	creds credentials.TransportCredentials

	mu    sync.Mutex
	count count // guarded by mu
}

// run calls until ctx is done; what has begun is finished, but for endless streams.
func (c *client) run(ctx context.Context) {
	conn := c.connect()
	defer func() { conn.Close() }()
	if !c.newConn {
		var calls sync.WaitGroup
		for range c.calls {
			calls.Go(func() {
				for c.think(ctx) {
					if c.call(ctx, conn) != nil {
						time.Sleep(50 * ms) // no storm of failures
					}
				}
			})
		}
		calls.Wait()
		return
	}
	for c.think(ctx) {
		c.call(ctx, conn)
		conn.Close()
		conn = c.connect()
	}
}

// think waits for the think time, and reports whether there is a next call.
func (c *client) think(ctx context.Context) bool {
	select {
	case <-time.After(c.minThink + rand.N(c.maxThink-c.minThink+1)):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// connect returns a connection that retries nothing, as far as grpc-go can be told so.
func (c *client) connect() *grpc.ClientConn {
	creds := c.creds
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///test",
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStatsHandler(attempts{}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c.mu.Lock()
			c.count.dials++
			c.mu.Unlock()
			addr := c.view.pick()
			if addr == "" {
				return nil, errNoServer
			}
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		panic(err)
	}
	return conn
}

var lastID atomic.Int64

// call makes one call, and counts it. One that grpc-go has sent again by itself is
// lost, however it went then.
func (c *client) call(ctx context.Context, conn *grpc.ClientConn) error {
	a := new(attempt)
	callCtx := context.WithValue(context.WithoutCancel(ctx), attempt{}, a)
	callCtx, cancel := context.WithTimeout(callCtx, time.Minute)
	defer cancel()
	ended := make(chan struct{})
	if c.name == "endless stream" {
		stop := context.AfterFunc(ctx, func() { close(ended); cancel() })
		defer stop()
	}
	callCtx = metadata.AppendToOutgoingContext(callCtx, idKey, fmt.Sprint(lastID.Add(1)))
	err := c.do(callCtx, testgrpc.NewTestServiceClient(conn))
	select {
	case <-ended:
		err = nil
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.sent++
	switch {
	case a.again.Load():
		c.count.again++
		err = fmt.Errorf("the client has sent it again: %v", err)
	case status.Code(err) == codes.Unavailable:
		c.count.unavailable++
	}
	if err != nil {
		c.count.lost++
		if c.count.first == nil {
			c.count.first = err
		}
	}
	return err
}

// An attempt is what is known of a call, under the key attempt{} of its context.
type attempt struct {
	sent  atomic.Bool // a stream was opened for it
	again atomic.Bool // and later another one
}

// Attempts see when grpc-go retries a call by itself, which WithDisableRetry does not
// prevent: once, when the server says that it has not looked at the stream, by the last
// stream of a GOAWAY or by REFUSED_STREAM, or when the connection ends before the stream
// is written. (It also looks for another connection when it could not open a stream at
// all; that is not a call yet, and does not count.)
type attempts struct{}

func (attempts) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (attempts) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (attempts) HandleConn(context.Context, stats.ConnStats)                       {}
func (attempts) HandleRPC(ctx context.Context, s stats.RPCStats) {
	a, _ := ctx.Value(attempt{}).(*attempt)
	if a == nil {
		return
	}
	switch s := s.(type) {
	case *stats.OutHeader:
		a.sent.Store(true)
	case *stats.Begin:
		if s.IsTransparentRetryAttempt && a.sent.Load() {
			a.again.Store(true)
		}
	}
}

// Routes are the servers, as each client knows them.
type routes struct {
	mu    sync.Mutex // guards the views' addrs too
	addrs []string
	views []*view
}

// A view is what one client knows.
type view struct {
	routes *routes
	addrs  map[string]time.Time // until when; zero: for good
}

func (r *routes) join() *view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &view{r, make(map[string]time.Time)}
	for _, a := range r.addrs {
		v.addrs[a] = time.Time{}
	}
	r.views = append(r.views, v)
	return v
}

func (r *routes) add(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = append(r.addrs, addr)
	for _, v := range r.views {
		v.addrs[addr] = time.Time{}
	}
}

// remove makes each client forget a server after a delay of its own.
func (r *routes) remove(addr string, propagation time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.addrs = slices.DeleteFunc(r.addrs, func(a string) bool { return a == addr })
	for _, v := range r.views {
		v.addrs[addr] = now.Add(rand.N(propagation) + 1)
	}
}

func (v *view) pick() string {
	v.routes.mu.Lock()
	defer v.routes.mu.Unlock()
	now := time.Now()
	var known []string
	for a, until := range v.addrs {
		if until.IsZero() || now.Before(until) {
			known = append(known, a)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return known[rand.N(len(known))]
}
