// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
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

// A fakeGRPC does with its connections what a *grpc.Server does, as far as a drain has
// to do with it; examples/more/grpc has the real one. A call's header block is its
// method's name.
type fakeGRPC struct {
	srv    *drain.Server
	handle func(ctx context.Context, method string)
	shake  func(net.Conn) (net.Conn, error) // the credentials; nil: none
	plain  bool                             // no interceptor makes Call
	hang   chan struct{}                    // GracefulStop does not return before it is closed; nil: it does not hang
	gate   chan struct{}                    // Serve does not accept before it is closed; nil: it does at once

	serving  sync.WaitGroup // Serve, and handshakes
	handlers sync.WaitGroup

	mu        sync.Mutex // guards what follows
	changed   *sync.Cond
	listeners []net.Listener
	conns     map[*fakeConn]bool
	stops     []string // the calls of GracefulStop and of Stop
}

// A fakeConn is a connection after its handshake.
type fakeConn struct {
	net.Conn
	srv    *fakeGRPC
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows, and writing
	last     uint32
	streams  int
	draining bool
}

func (g *fakeGRPC) Serve(l net.Listener) error {
	g.mu.Lock()
	if len(g.stops) > 0 { // as that of grpc-go does
		g.mu.Unlock()
		l.Close()
		return errors.New("the server has been stopped")
	}
	g.listeners = append(g.listeners, l)
	g.serving.Add(1)
	g.mu.Unlock()
	defer g.serving.Done()
	if g.gate != nil {
		<-g.gate
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		g.serving.Go(func() {
			if c, err := g.handshake(nc); err == nil {
				go c.read()
			} else {
				nc.Close()
			}
		})
	}
}

func (g *fakeGRPC) handshake(nc net.Conn) (_ *fakeConn, err error) {
	nc.SetDeadline(time.Now().Add(2 * time.Minute))
	if g.shake != nil {
		if nc, err = g.shake(nc); err != nil {
			return nil, err
		}
	}
	c := &fakeConn{Conn: nc, srv: g}
	c.mu.Lock() // nothing comes before this, which a pipe may keep from being written
	go func() {
		defer c.mu.Unlock()
		io.WriteString(nc, h2Frame{kind: h2Settings}.String())
	}()
	preface := make([]byte, len(h2Preface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != h2Preface {
		return nil, errors.Join(err, errors.New("no preface"))
	}
	nc.SetDeadline(time.Time{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	g.mu.Lock()
	g.conns[c] = true
	g.mu.Unlock()
	return c, nil
}

func (c *fakeConn) read() {
	for {
		f, err := readH2(c)
		if err != nil {
			c.close()
			return
		}
		switch {
		case f.kind == h2Headers:
			c.mu.Lock()
			c.last = f.stream
			c.streams++
			c.mu.Unlock()
			c.srv.handlers.Go(func() { c.call(f.stream, f.payload) })
		case f.kind == h2Ping && f.flags&h2Ack == 0:
			go c.write(h2Frame{h2Ping, h2Ack, 0, f.payload})
		}
	}
}

func (c *fakeConn) call(stream uint32, method string) {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	if !c.srv.plain {
		var done func()
		ctx, done = c.srv.srv.Call(ctx, c.RemoteAddr(), method)
		defer done()
	}
	c.srv.handle(ctx, method)
	c.write(h2Frame{h2Headers, h2EndStream | h2EndHeaders, stream, "\x88"})
	c.mu.Lock()
	c.streams--
	c.mu.Unlock()
	c.closeIfOver()
}

func (c *fakeConn) write(f h2Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(c, f.String())
}

// goAway is what GracefulStop does, whose client has confirmed its first GOAWAY.
func (c *fakeConn) goAway() {
	c.mu.Lock()
	c.draining = true
	io.WriteString(c, h2Frame{h2GoAway, 0, 0, string(binary.BigEndian.AppendUint32(nil, c.last)) + "\x00\x00\x00\x00"}.String())
	c.mu.Unlock()
	c.closeIfOver()
}

func (c *fakeConn) closeIfOver() {
	c.mu.Lock()
	over := c.draining && c.streams == 0
	c.mu.Unlock()
	if over {
		c.close()
	}
}

func (c *fakeConn) close() {
	c.Close()
	c.cancel()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	delete(c.srv.conns, c)
	c.srv.changed.Broadcast()
}

func (g *fakeGRPC) GracefulStop() { g.stop("GracefulStop", (*fakeConn).goAway) }
func (g *fakeGRPC) Stop()         { g.stop("Stop", (*fakeConn).close) }

// stop waits for handshakes first, as that of grpc-go does.
func (g *fakeGRPC) stop(name string, end func(*fakeConn)) {
	g.mu.Lock()
	g.stops = append(g.stops, name)
	for _, l := range g.listeners {
		l.Close()
	}
	g.mu.Unlock()
	g.serving.Wait()
	g.mu.Lock()
	for c := range g.conns {
		go end(c)
	}
	for len(g.conns) > 0 {
		g.changed.Wait()
	}
	g.mu.Unlock()
	if name == "GracefulStop" {
		g.handlers.Wait()
		if g.hang != nil {
			<-g.hang
		}
	}
}

func (g *fakeGRPC) stopped() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stops
}

func startGRPC(t *testing.T, srv *drain.Server, g *fakeGRPC) *rig {
	t.Helper()
	l := memnet.Listen()
	return startGRPCWrapped(t, srv, g, l, l)
}

// startGRPCWrapped starts it on a listener of the program's around one in memory.
func startGRPCWrapped(t *testing.T, srv *drain.Server, g *fakeGRPC, inner *memnet.Listener, l net.Listener) *rig {
	t.Helper()
	g.srv, g.conns, g.changed = srv, make(map[*fakeConn]bool), sync.NewCond(&g.mu)
	srv.GRPC = g
	r := &rig{t: t, srv: srv, l: inner, served: make(chan error, 1)}
	go func() { r.served <- srv.Serve(l) }()
	synctest.Wait()
	return r
}

// call opens a stream.
func (h *h2Client) call(stream uint32, method string) {
	h.send(h2Headers, h2EndStream|h2EndHeaders, stream, method)
}

// serverTLS returns the credentials of a gRPC server.
func serverTLS(t *testing.T, hook bool) func(net.Conn) (net.Conn, error) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}}
	return func(raw net.Conn) (net.Conn, error) {
		tc := tls.Server(raw, config)
		if err := tc.Handshake(); err != nil {
			return nil, err
		}
		if hook {
			return drain.Decrypted(raw, tc), nil
		}
		return tc, nil
	}
}

// bothGRPC runs a test without TLS, and with it and Decrypted.
func bothGRPC(t *testing.T, test func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client)) {
	t.Run("plaintext", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(srv *drain.Server, g *fakeGRPC) *rig { return startGRPC(t, srv, g) },
				func(r *rig) *h2Client { return r.dial().http2("") })
		})
	})
	t.Run("TLS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(srv *drain.Server, g *fakeGRPC) *rig {
				g.shake = serverTLS(t, true)
				return startGRPC(t, srv, g)
			}, func(r *rig) *h2Client { return r.dialHTTP2TLS().http2("") })
		})
	})
}

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

func TestGRPCCallsAreCancelledThenCutAndNamed(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		release := make(chan struct{})
		var cancelled time.Duration
		t0 := time.Now()
		g := &fakeGRPC{handle: func(ctx context.Context, method string) {
			switch method {
			case "/t.T/Polite":
				<-ctx.Done()
				cancelled = time.Since(t0)
				assert.Equal(t, drain.ErrCut, context.Cause(ctx))
			case "/t.T/Deaf":
				<-release
			}
		}}
		r := start(&drain.Server{Spread: -1}, g)
		c := dial(r)
		c.call(1, "/t.T/Polite")
		c.call(3, "/t.T/Deaf")
		synctest.Wait()
		time.Sleep(time.Minute)
		t0 = time.Now()
		report, took, err := r.drain(28 * time.Second)
		assert.Equal(t, 28*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.ErrorContains(t, err, "gRPC /t.T/Deaf (running for 1m27.5s)")
		assert.Equal(t, []string{"gRPC /t.T/Deaf (running for 1m27.5s)"}, report.Cut)
		assert.EqualValues(t, 2, report.Cancelled)
		assert.Equal(t, 28*time.Second-drain.CancelMargin, cancelled)
		assert.Equal(t, []string{"GracefulStop", "Stop"}, g.stopped())
		<-c.end
		assert.True(t, c.answered(1))
		assert.False(t, c.answered(3))
		close(release)
	})
}

// A call that begins when the others have been cancelled already is no better off.
func TestGRPCCallAfterTheOthersWereCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 2)
		r := startGRPC(t, &drain.Server{Spread: -1}, &fakeGRPC{handle: func(ctx context.Context, method string) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			if method == "/t.T/Slow" {
				time.Sleep(time.Second)
			}
		}})
		c := r.dial().http2("")
		c.call(1, "/t.T/Slow")
		synctest.Wait()
		time.AfterFunc(28*time.Second-drain.CancelMargin+time.Second/2, func() { c.call(3, "/t.T/Late") })
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 28*time.Second-drain.CancelMargin+time.Second, took)
		assert.Equal(t, []error{drain.ErrCut, drain.ErrCut}, []error{<-causes, <-causes})
	})
}

func TestGRPCIsStoppedWhenTheContextIsCancelled(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		var cause error
		g := &fakeGRPC{handle: func(ctx context.Context, _ string) {
			<-ctx.Done()
			cause = context.Cause(ctx)
		}}
		r := start(&drain.Server{Floor: time.Hour}, g)
		c := dial(r)
		c.call(1, "/t.T/Quick")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		t0 := time.Now()
		report, err := r.srv.Drain(ctx)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, time.Second, time.Since(t0))
		assert.Equal(t, []string{"gRPC /t.T/Quick (running for 1s)"}, report.Cut, "although it reacts at once")
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		synctest.Wait()
		assert.Equal(t, drain.ErrCut, cause)
		assert.Equal(t, []string{"Stop"}, g.stopped())
		r.nothingOpen()
	})
}

func TestGracefulStopThatHangsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGRPC{hang: make(chan struct{})}
		r := startGRPC(t, &drain.Server{}, g)
		report, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, []string{"GracefulStop, which has not returned"}, report.Cut)
		assert.Equal(t, []string{"GracefulStop", "Stop"}, g.stopped())
		close(g.hang)
	})
}

// A brokenGRPC panics when it is to end.
type brokenGRPC struct{ drain.GRPCServer }

func (brokenGRPC) GracefulStop() { panic("no grace") }
func (brokenGRPC) Stop()         { panic("no end") }

func TestPanicsOfAGRPCServerAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		open bool // a client stays
		want []string
	}{
		"nothing left": {false, []string{"GracefulStop of the gRPC server panicked: no grace"}},
		"cut":          {true, []string{"GracefulStop of the gRPC server panicked: no grace", "Stop of the gRPC server panicked: no end"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				g := &fakeGRPC{handle: func(context.Context, string) { <-release }}
				srv := &drain.Server{}
				r := startGRPC(t, srv, g)
				srv.GRPC = brokenGRPC{g}
				if tt.open {
					c := r.dial().http2("")
					c.call(1, "/t.T/Call")
					synctest.Wait()
				}
				_, took, err := r.drain(10 * time.Second)
				assert.LessOrEqual(t, took, 10*time.Second)
				assert.Equal(t, tt.open, errors.Is(err, drain.ErrCut))
				for _, want := range tt.want {
					assert.ErrorContains(t, err, want)
				}
				close(release)
				synctest.Wait()
				r.nothingOpen()
			})
		})
	}
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

// GracefulStop and Stop wait for handshakes, which may never come to their end; no
// other client may have to wait for that.
func TestGRPCConnectionsWithoutAHandshakeHoldNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		tls  bool
		send string
		want time.Duration
	}{
		{"silent", false, "", drain.DefaultSilent},
		{"silent, TLS", true, "", drain.DefaultSilent},
		{"half a preface", false, h2Preface[:5], drain.DefaultQuiet + 5*time.Second},
		{"half a handshake", true, "\x16\x03\x01", drain.DefaultQuiet + drain.DefaultSilent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGRPC{handle: func(context.Context, string) {}}
				dial := (*rig).dial
				if tt.tls {
					g.shake, dial = serverTLS(t, true), (*rig).dialHTTP2TLS
				}
				r := startGRPC(t, &drain.Server{Spread: -1}, g)
				c := dial(r).http2("")
				c.call(1, "/t.T/Get")
				stray := r.dial()
				go stray.Write([]byte(tt.send))
				synctest.Wait()
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.InDelta(t, tt.want, took, float64(50*time.Millisecond))
				assert.EqualValues(t, 1, report.Silent+report.Unfinished)
				assert.EqualValues(t, 1, report.GoAway)
				<-c.end
			})
		})
	}
}

// Without Decrypted clients with TLS are left in peace until GracefulStop, the idle and
// the busy ones, and long streams are told once the accept window is closed.
func TestGRPCOverTLSWithoutDecrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t0 := time.Now()
		var told time.Duration
		g := &fakeGRPC{shake: serverTLS(t, false), handle: func(ctx context.Context, method string) {
			if method == "/t.T/Long" {
				<-drain.Draining(ctx)
				told = time.Since(t0)
			}
		}}
		r := startGRPC(t, &drain.Server{Floor: 10 * time.Second, Spread: -1}, g)
		idle, long := r.dialHTTP2TLS().http2(""), r.dialHTTP2TLS().http2("")
		long.call(1, "/t.T/Long")
		synctest.Wait()
		t0 = time.Now()
		time.AfterFunc(10*time.Second-1, func() {
			assert.Empty(t, append(idle.goAways(), long.goAways()...))
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, 10*time.Second, told)
		assert.Len(t, idle.goAways(), finalGOAWAY)
		assert.Zero(t, report.GoAway)
		assert.EqualValues(t, 1, report.GoAwayOnce)
		assert.True(t, long.answered(1))
		assert.Zero(t, report.Silent+report.Idle)
	})
}

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
			time.AfterFunc(200*time.Millisecond, func() { close(g.gate) }) // the accept window is closed by then
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
	require.Eventually(t, func() bool { return srv.Stats().InFlight == 1 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, drain.Stats{Open: 2, New: 1, Active: 1, InFlight: 1}, srv.Stats())
	close(release)
	require.Eventually(t, func() bool { return srv.Stats().InFlight == 0 }, 10*time.Second, time.Millisecond)
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
