// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

func TestDrainBeforeServeWithGRPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGRPC{}
		g.changed = sync.NewCond(&g.mu)
		srv := &drain.Server{GRPC: g, Floor: time.Hour}
		t0 := time.Now()
		_, err := srv.Drain(t.Context())
		require.NoError(t, err)
		assert.Zero(t, time.Since(t0))
		l := memnet.Listen()
		assert.Equal(t, http.ErrServerClosed, srv.Serve(l))
		_, err = l.Dial(t.Context())
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.Equal(t, []string{"GracefulStop"}, g.stopped())
	})
}

// Whichever comes first of Serve and Drain, the other learns of it: either the listener
// is served for the floor, or Serve returns at once and has closed it.
func TestServeBesideDrainWithGRPC(t *testing.T) {
	served := 0
	for range 500 {
		synctest.Test(t, func(t *testing.T) {
			g := &fakeGRPC{handle: func(context.Context, string) {}, conns: make(map[*fakeConn]bool)}
			g.changed = sync.NewCond(&g.mu)
			g.srv = &drain.Server{Floor: time.Second, GRPC: g}
			l := memnet.Listen()
			t0 := time.Now()
			ended := make(chan time.Duration, 1)
			go func() {
				yield()
				assert.Equal(t, http.ErrServerClosed, g.srv.Serve(l))
				ended <- time.Since(t0)
			}()
			yield()
			ctx, cancel := context.WithTimeout(t.Context(), 28*time.Second)
			defer cancel()
			report, err := g.srv.Drain(ctx)
			require.NoError(t, err)
			if took := <-ended; took > 0 {
				served++
				assert.Equal(t, time.Second, took)
			}
			assert.Equal(t, report.Accept.Took, time.Since(t0))
			assert.Equal(t, []string{"GracefulStop"}, g.stopped())
			_, err = l.Dial(t.Context())
			assert.ErrorIs(t, err, net.ErrClosed)
			assert.Equal(t, drain.Stats{}, g.srv.Stats())
		})
	}
	t.Logf("Serve came first in %d of 500", served)
}

// yield lets other goroutines run, or not.
func yield() {
	for range rand.N(10) {
		runtime.Gosched()
	}
}

// A Serve that comes when GracefulStop has, though the drain has seen its listener,
// returns at once; so does one after Drain.
func TestServeOfAGRPCServerThatHasBeenStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan struct{})
		g := &fakeGRPC{handle: func(context.Context, string) {}, conns: make(map[*fakeConn]bool)}
		g.changed = sync.NewCond(&g.mu)
		srv := &drain.Server{GRPC: lateGRPC{g, late}}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(memnet.Listen()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 28*time.Second)
		defer cancel()
		t0 := time.Now()
		_, err := srv.Drain(ctx)
		require.NoError(t, err)
		assert.Equal(t, 1500*time.Millisecond, time.Since(t0), "for what it takes net/http to return from Accept")
		close(late)
		assert.Equal(t, http.ErrServerClosed, <-served)
		assert.Equal(t, http.ErrServerClosed, srv.Serve(memnet.Listen()))
	})
}

// A lateGRPC does not come to its Serve for a while.
type lateGRPC struct {
	*fakeGRPC
	late <-chan struct{}
}

func (g lateGRPC) Serve(l net.Listener) error {
	<-g.late
	return g.fakeGRPC.Serve(l)
}

func TestGRPCServersThatCannotBeServed(t *testing.T) {
	serve := func(srv *drain.Server, l net.Listener) error { return srv.Serve(l) }
	serveTLS := func(srv *drain.Server, l net.Listener) error { return srv.ServeTLS(l, "", "") }
	withTLS := tls.NewListener(memnet.Listen(), &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	const noTLS = "drain: TLS is for the credentials of the gRPC server; use Serve with a listener without it"
	for _, tt := range []struct {
		name  string
		srv   *drain.Server
		l     net.Listener
		serve func(*drain.Server, net.Listener) error
		want  string
	}{
		{"both", &drain.Server{HTTP: new(http.Server), GRPC: new(fakeGRPC)}, memnet.Listen(), serve,
			"drain: both Server.HTTP and Server.GRPC are set; each takes a Server of its own"},
		{"ServeTLS", &drain.Server{GRPC: new(fakeGRPC)}, memnet.Listen(), serveTLS, noTLS},
		{"TLS listener", &drain.Server{GRPC: new(fakeGRPC)}, withTLS, serve, noTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.EqualError(t, tt.serve(tt.srv, tt.l), tt.want)
			_, err := tt.l.Accept()
			assert.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

func TestGRPCOnTwoListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startGRPC(t, &drain.Server{}, &fakeGRPC{handle: func(context.Context, string) {}})
		other := memnet.Listen()
		served := make(chan error, 1)
		go func() { served <- r.srv.Serve(other) }()
		synctest.Wait()
		nc, err := other.Dial(t.Context())
		require.NoError(t, err)
		c := (&client{t, nc, bufio.NewReader(nc)}).http2("")
		c.call(1, "/t.T/Get")
		synctest.Wait()
		assert.True(t, c.answered(1))
		_, _, err = r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, http.ErrServerClosed, <-served)
	})
}

// startGRPCOn serves on a socket, outside a bubble.
func startGRPCOn(t *testing.T, g *fakeGRPC) (srv *drain.Server, addr net.Addr, served <-chan error) {
	t.Helper()
	srv = &drain.Server{GRPC: g}
	g.srv, g.conns, g.changed = srv, make(map[*fakeConn]bool), sync.NewCond(&g.mu)
	l, err := drain.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- srv.Serve(l) }()
	return srv, l.Addr(), result
}

// What waits in the accept queue when the listener is to be closed is served, and would
// be reset if the listener were just closed, as GracefulStop does.
func TestGRPCAcceptQueueIsServed(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  bool
		want int
	}{{"", false, 20}, {"just closed", true, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			g := &fakeGRPC{handle: func(context.Context, string) {}, gate: make(chan struct{})}
			srv, addr, served := startGRPCOn(t, g)
			if tt.off {
				srv.SwitchOff("accept queue")
			}
			var clients []*h2Client
			for range 20 {
				c := dialAddr(t, addr).http2("")
				c.call(1, "/t.T/Get")
				clients = append(clients, c)
			}
			go func() {
				defer close(g.gate)
				if tt.off {
					<-srv.AcceptWindowClosed()
				}
				assert.Eventually(t, srv.Closing, time.Minute, time.Millisecond)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			report, err := srv.Drain(ctx)
			require.NoError(t, err)
			assert.Equal(t, http.ErrServerClosed, <-served)
			assert.Zero(t, report.Accept.Connections)
			assert.EqualValues(t, tt.want, report.Total().Connections)
			answered := 0
			for _, c := range clients {
				if <-c.end; c.answered(1) {
					answered++
				}
			}
			assert.Equal(t, tt.want, answered)
		})
	}
}
