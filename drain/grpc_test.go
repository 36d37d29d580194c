// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

const finalGOAWAY = 1 // how many more GracefulStop sends than the drain

func TestGRPCClientIsToldToGoBeforeGracefulStop(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		g := &fakeGRPC{handle: func(context.Context, string) { time.Sleep(time.Second / 2) }}
		r := start(&drain.Server{Floor: time.Second, Quiet: -1, Spread: -1}, g)
		old := dial(r)
		old.call(1, "/t.T/Get")
		synctest.Wait()
		time.AfterFunc(time.Second/4, func() {
			assert.Equal(t, []uint32{highestStream}, old.goAways(), "the client is told, and nothing is refused")
			assert.Empty(t, g.stopped())
			old.call(3, "/t.T/Get") // it was on its way
			late := dial(r)
			late.call(1, "/t.T/Get")
			time.AfterFunc(time.Second/2, func() {
				assert.Empty(t, late.goAways(), "it would come back here")
				time.Sleep(time.Second / 8)
				assert.True(t, late.answered(1), "the listener is open")
			})
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, time.Second, took)
		assert.True(t, report.Quiet)
		assert.Empty(t, report.Cut)
		assert.EqualValues(t, 2, report.GoAway)
		assert.Zero(t, report.GoAwayOnce)
		assert.Equal(t, drain.PhaseReport{Took: time.Second, Connections: 1, Requests: 2}, report.Accept)
		assert.Equal(t, []string{"GracefulStop"}, g.stopped())
		<-old.end
		assert.True(t, old.answered(1) && old.answered(3))
		assert.Len(t, old.goAways(), 1+finalGOAWAY)
		r.nothingOpen()
	})
}

func TestGRPCClientsAreToldAtInstantsOfTheirOwn(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		g := &fakeGRPC{handle: func(context.Context, string) {}}
		r := start(&drain.Server{Floor: 10 * time.Second}, g)
		var clients []*h2Client
		for range 100 {
			clients = append(clients, dial(r))
		}
		synctest.Wait()
		told := func() (n int) {
			for _, c := range clients {
				n += len(c.goAways())
			}
			return n
		}
		time.AfterFunc(2500*time.Millisecond, func() {
			assert.InDelta(t, 50, told(), 30, "half of them in the first half of the half")
			time.Sleep(2501 * time.Millisecond)
			assert.Equal(t, 100, told())
		})
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 100, report.GoAway)
	})
}

// What keeps the accept window open is the first call of a connection that is not a
// health check, and without calls that anybody counts, the connection.
func TestGRPCTraffic(t *testing.T) {
	for _, tt := range []struct {
		name, before, method string
		want                 time.Duration
		counted              int64
	}{
		{"a call", "/t.T/Get", "/t.T/Get", 1900 * time.Millisecond, 1},
		{"a health check", "/t.T/Get", "/grpc.health.v1.Health/Check", time.Second, 0},
		{"connected only", "/t.T/Get", "", time.Second, 0},
		{"connected only, when no call was ever counted", "", "", 1900 * time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startGRPC(t, &drain.Server{Floor: time.Second, Silent: -1}, &fakeGRPC{handle: func(context.Context, string) {}})
				if tt.before != "" {
					c := r.dial().http2("")
					c.call(1, tt.before)
					synctest.Wait()
					c.Close()
				}
				time.Sleep(time.Minute)
				clients := make(chan *h2Client, 1)
				time.AfterFunc(900*time.Millisecond, func() {
					c := r.dial().http2("")
					if tt.method != "" {
						c.call(1, tt.method)
					}
					clients <- c
				})
				t0 := time.Now()
				go r.srv.Drain(t.Context())
				<-r.srv.AcceptWindowClosed()
				assert.Equal(t, tt.want, time.Since(t0))
				report, err := r.srv.Drain(t.Context())
				require.NoError(t, err)
				assert.Equal(t, tt.counted, report.Accept.Connections)
				<-r.served
				(<-clients).Close()
			})
		})
	}
}

func TestGRPCLongStreamsAreToldAfterTheirClient(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		var client *h2Client
		var mu sync.Mutex
		var told []string
		g := &fakeGRPC{handle: func(ctx context.Context, method string) {
			switch method {
			case "/t.T/Draining":
				<-drain.Draining(ctx)
				assert.NoError(t, ctx.Err())
			case "/t.T/Notify":
				notified, stop := drain.NotifyContext(ctx)
				defer stop()
				<-notified.Done()
				assert.Equal(t, drain.ErrDraining, context.Cause(notified))
				assert.NoError(t, ctx.Err())
			default:
				<-ctx.Done()
				assert.Equal(t, drain.ErrDraining, context.Cause(ctx))
			}
			assert.Equal(t, []uint32{highestStream}, client.goAways())
			mu.Lock()
			defer mu.Unlock()
			told = append(told, method)
		}}
		r := start(&drain.Server{Floor: 4 * time.Second}, g)
		client = dial(r)
		client.call(1, "/t.T/Draining")
		client.call(3, "/t.T/Notify")
		client.call(5, "/grpc.health.v1.Health/Watch")
		synctest.Wait()
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 4*time.Second, took)
		assert.ElementsMatch(t, []string{"/t.T/Draining", "/t.T/Notify", "/grpc.health.v1.Health/Watch"}, told)
		assert.Zero(t, report.Cancelled)
	})
}

// Without interceptors the calls have no names, and are waited for by GracefulStop.
func TestGRPCWithoutCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := &fakeGRPC{plain: true, handle: func(_ context.Context, method string) {
			if method == "/t.T/Deaf" {
				<-release
				return
			}
			time.Sleep(5 * time.Second)
		}}
		r := startGRPC(t, &drain.Server{Spread: -1}, g)
		c := r.dial().http2("")
		c.call(1, "/t.T/Slow")
		synctest.Wait()
		_, took, err := r.drain(28 * time.Second)
		assert.NoError(t, err)
		assert.Equal(t, 5*time.Second, took)
		assert.True(t, c.answered(1))

		r = startGRPC(t, &drain.Server{Spread: -1}, &fakeGRPC{plain: true, handle: g.handle})
		c = r.dial().http2("")
		c.call(1, "/t.T/Deaf")
		synctest.Wait()
		report, _, err := r.drain(28 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"gRPC connection from pipe"}, report.Cut)
		close(release)
	})
}

func TestCallOfAnotherServer(t *testing.T) {
	srv := new(drain.Server)
	for _, a := range []net.Addr{nil, memnet.Listen().Addr(), new(net.TCPAddr), sliceAddr{}} {
		ctx, done := srv.Call(t.Context(), a, "/t.T/Get")
		assert.Equal(t, t.Context(), ctx)
		done()
	}
	nc := new(net.TCPConn)
	assert.Equal(t, net.Conn(nc), drain.Decrypted(new(net.TCPConn), nc))
}

type sliceAddr []string

func (sliceAddr) Network() string { return "" }
func (sliceAddr) String() string  { return "" }

func TestGRPCStatsAndAddresses(t *testing.T) {
	release := make(chan struct{})
	addresses := make(chan net.Addr, 1)
	g := &fakeGRPC{handle: func(ctx context.Context, _ string) { <-release }, shake: func(nc net.Conn) (net.Conn, error) {
		addresses <- nc.RemoteAddr()
		return nc, nil
	}}
	srv, addr, served := startGRPCOn(t, g)
	silent := dialAddr(t, addr)
	address := <-addresses
	assert.Equal(t, silent.LocalAddr(), address, "of the usual type")
	c := dialAddr(t, addr).http2("")
	<-addresses
	c.call(1, "/t.T/Get")
	require.Eventually(t, func() bool { return srv.Stats().InFlight == 1 }, time.Minute, time.Millisecond)
	assert.Equal(t, drain.Stats{Open: 2, New: 1, Active: 1, InFlight: 1}, srv.Stats())
	close(release)
	require.Eventually(t, func() bool { return srv.Stats().InFlight == 0 }, time.Minute, time.Millisecond)
	assert.Equal(t, drain.Stats{Open: 2, New: 1, Idle: 1}, srv.Stats())
	silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	report, err := srv.Drain(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.GoAway)
	assert.Equal(t, http.ErrServerClosed, <-served)
	c.Close()
	<-c.end
	ctx, done := srv.Call(t.Context(), address, "/t.T/Get")
	defer done()
	assert.Equal(t, t.Context(), ctx, "the connection is forgotten")
}
