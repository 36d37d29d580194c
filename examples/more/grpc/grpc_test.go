// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/proc"
)

// both runs a test without TLS and with it.
func both(t *testing.T, test func(t *testing.T, env []string, dial func(addr string) *grpc.ClientConn)) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plaintext", true: "TLS"}[secure], func(t *testing.T) {
			c := new(client)
			var env []string
			if secure {
				c.creds, env = credentials.NewTLS(clientTLS), certificate(t)
			}
			test(t, env, func(addr string) *grpc.ClientConn {
				c := &client{creds: c.creds, view: &view{new(routes), map[string]time.Time{addr: {}}}}
				conn := c.connect()
				t.Cleanup(func() { conn.Close() })
				return conn
			})
		})
	}
}

const serving, notServing = healthgrpc.HealthCheckResponse_SERVING, healthgrpc.HealthCheckResponse_NOT_SERVING

// Health follows readiness: first of all clients learn that the server does not serve
// any more, then, each at an instant of its own, that they are to go, while newcomers
// are served and told the same.
func TestHealthIsRedBeforeAnythingElse(t *testing.T) {
	both(t, func(t *testing.T, env []string, dial func(string) *grpc.ClientConn) {
		p := lameduck.start(t, append(env, "SHUTDOWN_DELAY=2s", "GRACE_PERIOD=20s")...)
		require.Eventually(t, func() bool { return p.Get(p.Probe, "/readyz") == 200 }, time.Minute, 5*time.Millisecond)
		check := func() healthgrpc.HealthCheckResponse_ServingStatus {
			answer, err := healthgrpc.NewHealthClient(dial(p.Addr)).Check(t.Context(), new(healthgrpc.HealthCheckRequest))
			assert.NoError(t, err)
			return answer.GetStatus()
		}
		require.Eventually(t, func() bool { return check() == serving }, time.Minute, 5*time.Millisecond)
		const clients = 20
		var red, told [clients]time.Time
		var watching sync.WaitGroup
		for i := range clients {
			conn := dial(p.Addr)
			watch, err := healthgrpc.NewHealthClient(conn).Watch(t.Context(), new(healthgrpc.HealthCheckRequest))
			require.NoError(t, err)
			first, err := watch.Recv()
			require.NoError(t, err)
			require.Equal(t, serving, first.Status)
			watching.Go(func() {
				next, err := watch.Recv()
				red[i] = time.Now()
				assert.NoError(t, err)
				assert.Equal(t, notServing, next.GetStatus())
				_, err = watch.Recv()
				assert.Equal(t, codes.Canceled, status.Code(err), "%v", err)
			})
			watching.Go(func() {
				conn.WaitForStateChange(t.Context(), connectivity.Ready)
				told[i] = time.Now()
			})
		}
		var late sync.WaitGroup
		late.Go(func() {
			time.Sleep(time.Second) // half of the floor
			assert.Equal(t, notServing, check())
			assert.Equal(t, []int{200, 503}, []int{p.Get(p.Probe, "/livez"), p.Get(p.Probe, "/readyz")})
		})
		t0 := time.Now()
		code, took := p.End(syscall.SIGTERM, 20*time.Second)
		late.Wait()
		watching.Wait()
		assert.Zero(t, code, p.Output())
		assert.Less(t, took, 5*time.Second)
		inOrder := 0
		for i := range clients {
			if red[i].Before(told[i]) {
				inOrder++
			}
			assert.Less(t, red[i].Sub(t0), time.Second/4, "client %d", i)
		}
		// On one connection the two may cross when they are due at the same moment.
		assert.GreaterOrEqual(t, inOrder, clients*3/4)
		assert.Contains(t, p.Line("instant=Drained"), "cut=0")
	})
}

func TestEndlessStreamsAreToldAtInstantsOfTheirOwn(t *testing.T) {
	both(t, func(t *testing.T, env []string, dial func(string) *grpc.ClientConn) {
		const clients, floor = 50, 2 * time.Second
		p := lameduck.start(t, append(env, "SHUTDOWN_DELAY="+floor.String(), "GRACE_PERIOD=20s")...)
		var ended [clients]time.Time
		var streams, begun sync.WaitGroup
		for i := range clients {
			s, err := testgrpc.NewTestServiceClient(dial(p.Addr)).StreamingOutputCall(t.Context(), new(testgrpc.StreamingOutputCallRequest))
			require.NoError(t, err)
			begun.Add(1)
			streams.Go(func() {
				first := sync.OnceFunc(begun.Done)
				for {
					_, err := s.Recv()
					first()
					if err != nil {
						ended[i] = time.Now()
						assert.Equal(t, io.EOF, err)
						return
					}
				}
			})
		}
		begun.Wait()
		code, took := p.End(syscall.SIGTERM, 20*time.Second)
		streams.Wait()
		apart := slices.MaxFunc(ended[:], time.Time.Compare).Sub(slices.MinFunc(ended[:], time.Time.Compare))
		t.Logf("%d streams: ends over %v; exit after %v", clients, apart, took)
		assert.Zero(t, code, p.Output())
		assert.GreaterOrEqual(t, apart, floor/4)
		assert.Less(t, took, floor+3*time.Second)
		assert.Contains(t, p.Line("instant=Drained"), fmt.Sprintf("goaway=%d report.goaway_once=0", clients))
	})
}

func TestAStreamThatIgnoresEverythingIsCutAndNamed(t *testing.T) {
	both(t, func(t *testing.T, env []string, dial func(string) *grpc.ClientConn) {
		const grace = 6 * time.Second
		p := deaf.start(t, append(env, "GRACE_PERIOD="+grace.String())...)
		s, err := testgrpc.NewTestServiceClient(dial(p.Addr)).StreamingOutputCall(t.Context(), new(testgrpc.StreamingOutputCallRequest))
		require.NoError(t, err)
		_, err = s.Recv()
		require.NoError(t, err)
		code, took := p.End(syscall.SIGTERM, 2*grace)
		assert.Equal(t, 4, code, p.Output())
		assert.Less(t, took, grace)
		t.Logf("exit after %v: %.300s", took, p.Line("left behind"))
		assert.Contains(t, p.Output(), "cut at the deadline: gRPC /grpc.testing.TestService/StreamingOutputCall (running for ")
		_, err = s.Recv()
		assert.Equal(t, codes.Unavailable, status.Code(err))
	})
}

// A connection on which nothing comes keeps grpc-go's GracefulStop, and its Stop, from
// doing anything for two minutes.
func TestASilentConnectionHoldsNothing(t *testing.T) {
	silent := func(p *proc.Server) (code int, took time.Duration) {
		nc, err := net.Dial("tcp", p.Addr)
		require.NoError(t, err)
		defer nc.Close()
		_, err = nc.Read(make([]byte, 1)) // of the server's settings, or nothing with TLS
		require.NoError(t, err)
		return p.End(syscall.SIGTERM, 8*time.Second)
	}
	code, took := silent(lameduck.start(t))
	assert.Zero(t, code)
	assert.Less(t, took, 5*time.Second)
	code, hung := silent(gracefulStop.start(t))
	assert.Equal(t, -1, code)
	t.Logf("exit after %v; of GracefulStop alone, none after %v", took, hung)
}

// startHere serves grpc-go in this process.
func startHere(t testing.TB, service testgrpc.TestServiceServer) (server *drain.Server, addr string, served <-chan error) {
	t.Helper()
	l, err := drain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveHere(t, service, l)
}

// serveHere does so on a listener.
func serveHere(t testing.TB, service testgrpc.TestServiceServer, l net.Listener) (server *drain.Server, addr string, served <-chan error) {
	t.Helper()
	server = new(drain.Server)
	srv := grpc.NewServer(grpc.Creds(told{transport()}), grpc.UnaryInterceptor(unary(server)), grpc.StreamInterceptor(stream(server)))
	testgrpc.RegisterTestServiceServer(srv, service)
	server.GRPC = srv
	result := make(chan error, 1)
	go func() { result <- server.Serve(l) }()
	return server, l.Addr().String(), result
}

// dial returns a connection without TLS.
func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c := &client{view: &view{new(routes), map[string]time.Time{addr: {}}}}
	conn := c.connect()
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A holder's unary calls last until their context ends, and say why it did.
type holder struct {
	testgrpc.UnimplementedTestServiceServer
	begun  chan struct{}
	causes chan error
}

func (h *holder) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	close(h.begun)
	<-ctx.Done()
	h.causes <- context.Cause(ctx)
	return nil, status.Error(codes.Aborted, "told")
}

func newHolder() *holder { return &holder{begun: make(chan struct{}), causes: make(chan error, 1)} }

func TestStopWhenTheContextIsCancelled(t *testing.T) {
	h := newHolder()
	server, addr, served := startHere(t, h)
	conn := dial(t, addr)
	server.Floor = time.Hour
	answered := make(chan error, 1)
	go func() {
		_, err := testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), new(testgrpc.Empty))
		answered <- err
	}()
	<-h.begun
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	report, err := server.Drain(ctx)
	require.ErrorIs(t, err, drain.ErrCut)
	require.Len(t, report.Cut, 1)
	assert.Contains(t, report.Cut[0], "gRPC /grpc.testing.TestService/EmptyCall (running for ")
	assert.Equal(t, drain.ErrCut, <-h.causes)
	assert.Error(t, <-answered)
	assert.Equal(t, http.ErrServerClosed, <-served)
}

// A call that is cancelled CancelMargin before the deadline can still answer.
func TestCallsAreCancelledInTimeToAnswer(t *testing.T) {
	h := newHolder()
	server, addr, served := startHere(t, h)
	conn := dial(t, addr)
	answered := make(chan error, 1)
	go func() {
		_, err := testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), new(testgrpc.Empty))
		answered <- err
	}()
	<-h.begun
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	report, err := server.Drain(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Cancelled)
	assert.Equal(t, drain.ErrCut, <-h.causes)
	assert.Equal(t, codes.Aborted, status.Code(<-answered), "its own answer")
	assert.Equal(t, http.ErrServerClosed, <-served)
}

func TestDrainBeforeServe(t *testing.T) {
	server := &drain.Server{GRPC: grpc.NewServer(), Floor: time.Hour}
	_, err := server.Drain(t.Context())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	assert.Equal(t, http.ErrServerClosed, server.Serve(l))
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// refuse answers each stream on the connections of l with a GOAWAY that leaves it out
// (RFC 9113, section 6.8), until l is closed.
func refuse(l net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		conns.Go(func() {
			defer nc.Close()
			io.ReadFull(nc, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
			io.WriteString(nc, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
			var header [9]byte
			for {
				if _, err := io.ReadFull(nc, header[:]); err != nil {
					return
				}
				io.CopyN(io.Discard, nc, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
				if header[3] == 1 { // HEADERS
					io.WriteString(nc, "\x00\x00\x08\x07\x00\x00\x00\x00\x00"+"\x00\x00\x00\x00"+"\x00\x00\x00\x00")
				}
			}
		})
	}
}

// What the server has refused grpc-go sends again although it is told to retry nothing,
// and the clients of TestRoll say so.
func TestACallThatTheClientSendsAgainIsLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var server sync.WaitGroup
	server.Go(func() { refuse(l) })
	c := &client{kind: kinds[0], view: &view{new(routes), map[string]time.Time{l.Addr().String(): {}}}}
	conn := c.connect()
	err = c.call(t.Context(), conn)
	assert.ErrorContains(t, err, "the client has sent it again")
	c.count.first = nil
	assert.Equal(t, count{sent: 1, lost: 1, again: 1, dials: 2}, c.count)
	conn.Close()
	l.Close()
	server.Wait()
}
