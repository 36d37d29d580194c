// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/lameduck-go/lameduck/drain"
)

// A large answers a call with so many bytes, and says when its handler returns.
type large struct {
	testgrpc.UnimplementedTestServiceServer
	size     int
	returned chan struct{}
}

func (l *large) UnaryCall(context.Context, *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	defer close(l.returned)
	return &testgrpc.SimpleResponse{Payload: &testgrpc.Payload{Body: make([]byte, l.size)}}, nil
}

// A slowReader reads nothing for a while, and from then on at most so many bytes a second.
type slowReader struct {
	net.Conn
	from atomic.Pointer[time.Time] // nil: it does not pause
	rate int                       // 0: without limit
}

func (s *slowReader) Read(p []byte) (int, error) {
	if from := s.from.Load(); from != nil {
		time.Sleep(time.Until(*from))
	}
	if s.rate > 0 {
		p = p[:min(len(p), s.rate/50)]
		time.Sleep(time.Second / 50)
	}
	return s.Conn.Read(p)
}

// A watched listener knows for how long a write has been waiting for a client.
type watched struct {
	net.Listener
	since atomic.Pointer[time.Time] // nil: none is under way
}

func (w *watched) Accept() (net.Conn, error) {
	nc, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{nc.(*net.TCPConn), w}, nil
}

func (w *watched) waits() bool {
	since := w.since.Load()
	return since != nil && time.Since(*since) > 100*time.Millisecond
}

type watchedConn struct {
	*net.TCPConn
	by *watched
}

func (w *watchedConn) Write(p []byte) (int, error) {
	now := time.Now()
	w.by.since.Store(&now)
	defer w.by.since.Store(nil)
	return w.TCPConn.Write(p)
}

// The rest of an answer whose handler has returned, which grpc-go or a kernel still has,
// arrives, though the client takes it slowly or pauses: longer than it is given to
// confirm that it has been told.
func TestTheRestOfAnAnswerArrives(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   int
		window int32
		pause  time.Duration
		rate   int
	}{
		{"after a pause", 32 << 20, 64 << 20, 6 * time.Second, 0},
		{"slowly", 12 << 20, 4 << 20, 0, 1500_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			service := &large{size: tt.size, returned: make(chan struct{})}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			w := &watched{Listener: l}
			server, addr, served := serveHere(t, service, w)
			slow := &slowReader{rate: tt.rate}
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
				grpc.WithInitialWindowSize(tt.window), grpc.WithInitialConnWindowSize(tt.window),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(tt.size+1000)),
				grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
					nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
					slow.Conn = nc
					return slow, err
				}))
			require.NoError(t, err)
			defer conn.Close()
			client := testgrpc.NewTestServiceClient(conn)
			_, err = client.EmptyCall(t.Context(), new(testgrpc.Empty)) // not implemented, and connected
			require.Error(t, err)
			resumes := time.Now().Add(tt.pause)
			slow.from.Store(&resumes)
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				answer, err := client.UnaryCall(t.Context(), new(testgrpc.SimpleRequest))
				assert.NoError(t, err)
				assert.Len(t, answer.GetPayload().GetBody(), tt.size)
			}()
			<-service.returned
			if tt.pause > 0 {
				require.Eventually(t, w.waits, tt.pause, time.Millisecond)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = server.Drain(ctx)
			assert.NoError(t, err)
			<-answered
			<-served
		})
	}
}

// A proxied listener takes the address of a client from the first byte that comes, as
// those of the PROXY protocol do.
type proxied struct{ net.Listener }

func (p proxied) Accept() (net.Conn, error) {
	nc, err := p.Listener.Accept()
	return &proxiedConn{Conn: nc}, err
}

type proxiedConn struct {
	net.Conn
	once sync.Once
}

func (p *proxiedConn) header() { p.once.Do(func() { io.ReadFull(p.Conn, make([]byte, 1)) }) }

func (p *proxiedConn) RemoteAddr() net.Addr {
	p.header()
	return p.Conn.RemoteAddr()
}

func (p *proxiedConn) Read(b []byte) (int, error) {
	p.header()
	return p.Conn.Read(b)
}

// A client of whom nothing has come is in nobody's way, even where the connection has no
// address until something does.
func TestAClientWithoutAnAddressYetIsInNobodysWay(t *testing.T) {
	l, err := drain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, _, served := serveHere(t, &large{size: 10, returned: make(chan struct{})}, proxied{l})
	silent, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				nc.Write([]byte("P"))
			}
			return nc, err
		}))
	require.NoError(t, err)
	defer conn.Close()
	_, err = testgrpc.NewTestServiceClient(conn).UnaryCall(t.Context(), new(testgrpc.SimpleRequest))
	require.NoError(t, err)
	silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = server.Drain(ctx)
	assert.NoError(t, err)
	<-served
}

// Half a greeting keeps grpc-go's GracefulStop from doing anything for two minutes.
func TestHalfAGreetingDoesNotHoldTheDrain(t *testing.T) {
	server, addr, served := startHere(t, new(large))
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") // and no settings
	require.Eventually(t, func() bool { return server.Stats().Open == 1 }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	report, err := server.Drain(ctx)
	assert.NoError(t, err)
	assert.EqualValues(t, 1, report.Unfinished+report.Silent)
	<-served
}
