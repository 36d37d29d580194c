// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
