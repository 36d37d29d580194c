// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A GRPCServer is what a [Server] needs of a *grpc.Server of google.golang.org/grpc.
type GRPCServer interface {
	Serve(net.Listener) error
	GracefulStop()
	Stop()
}

var (
	errBoth    = errors.New("drain: both Server.HTTP and Server.GRPC are set; each takes a Server of its own")
	errNeither = errors.New("drain: neither Server.HTTP nor Server.GRPC is set")
	errGRPCTLS = errors.New("drain: TLS is for the credentials of the gRPC server; use Serve with a listener without it")
)

const (
	methodGRPC  = "gRPC" // where requests have theirs
	healthPath  = "/grpc.health.v1.Health/"
	healthWatch = healthPath + "Watch"
)

// Call notes that a call of GRPC begins. Interceptors, unary and stream, make it, and
// call what it returns when their handler has returned:
//
//	func unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
//		from, ok := peer.FromContext(ctx)
//		if !ok {
//			return handler(ctx, req)
//		}
//		ctx, done := server.Call(ctx, from.Addr, info.FullMethod)
//		defer done()
//		return handler(ctx, req)
//	}
//
// The context that it returns is for the handler. It is cancelled with ErrCut as its
// cause as that of an HTTP request is, and [Draining] and [NotifyContext] know it.
// What is left at the deadline is named by its method. IsProbe tells calls that are no
// traffic; it is given a request with no more than Method POST and the method's path.
// The Watch of the health service, which does not end by itself, is cancelled when its
// connection is told to go.
//
// The connection is found by the peer's address, which has to be the very value that the
// [net.Conn] has returned, as it is in the context of a gRPC call. Of a call on another
// connection than the server's own nothing is noted, and ctx is returned as it is. The
// function is to be called once. Call may be made from any goroutine.
func (s *Server) Call(ctx context.Context, peer net.Addr, method string) (context.Context, func()) {
	c := s.peer(peer)
	if c == nil {
		return ctx, func() {}
	}
	if !s.counted.Load() {
		s.counted.Store(true)
	}
	if in := s.in(); in != serving || !c.is(traffic) {
		probe := s.isProbe(&http.Request{Method: http.MethodPost, URL: &url.URL{Path: method}})
		first := !probe && !c.set(traffic)
		if first {
			s.lastNew.Store(s.clock())
		}
		if in != serving {
			s.counters.served(in, first, probe)
		}
	}
	ctx, cancel := context.WithCancelCause(&callContext{ctx, c})
	stop := context.CancelFunc(func() {})
	if method == healthWatch {
		ctx, stop = NotifyContext(ctx)
	}
	id := c.beginCall(method, cancel)
	return ctx, func() {
		stop()
		cancel(nil)
		c.endStream(id)
	}
}

// A callContext leads from the context of a call to its connection.
type callContext struct {
	context.Context
	conn *conn
}

func (c *callContext) Value(key any) any {
	if key == (connKey{}) {
		return c.conn
	}
	return c.Context.Value(key)
}

// Decrypted returns a connection that stands for plain, which a TLS handshake on raw
// has made of it, so that a client that speaks HTTP/2 in it can be told to go. Where raw
// is not a connection of a [Server] with a GRPC it returns plain. It is for the
// credentials of a gRPC server:
//
//	type creds struct{ credentials.TransportCredentials }
//
//	func (c creds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
//		plain, info, err := c.TransportCredentials.ServerHandshake(raw)
//		if err != nil {
//			return nil, nil, err
//		}
//		return drain.Decrypted(raw, plain), info, nil
//	}
//
// Without it clients with TLS are told by GracefulStop only, all at one instant.
func Decrypted(raw, plain net.Conn) net.Conn {
	c := tracked(raw)
	if c == nil || !c.is(ofGRPC) || raw == plain {
		return plain
	}
	c.srv.hooked.Store(true)
	return newGRPCConn(plain, c)
}

// newGRPCConn returns what a gRPC server is given for a connection, or for the TLS on
// it.
func newGRPCConn(nc net.Conn, c *conn) net.Conn {
	return &http2Conn{Conn: nc, conn: c, preface: len(clientPreface)}
}

// trackGRPC takes over a connection of a gRPC server that was just accepted. As long
// as no call has been counted it is not known whether any will be, and a connection is
// taken for traffic when it is accepted.
func (s *Server) trackGRPC(nc net.Conn) net.Conn {
	p := &peerConn{Conn: nc}
	p.mu.Lock()
	c := s.track(p, false)
	p.conn = c
	p.mu.Unlock()
	if !s.counted.Load() && !c.set(traffic) {
		s.lastNew.Store(s.clock())
		s.counters.phases[s.in()].connections.Add(1)
	}
	return newGRPCConn(c, c)
}

// A peerConn is an accepted connection whose remote address is the address of no other
// connection, so that a call, of which an interceptor knows no more, leads to it.
type peerConn struct {
	net.Conn

	mu   sync.Mutex // guards what follows
	conn *conn
	addr net.Addr // nil until somebody has asked
	gone bool     // no call leads here any more
}

// RemoteAddr does not ask the connection before it is asked itself: a listener that
// takes addresses from what a proxy sends first lets it wait for that.
func (p *peerConn) RemoteAddr() net.Addr {
	p.mu.Lock()
	addr := p.addr
	p.mu.Unlock()
	if addr == nil {
		addr = p.own(ownAddr(p.Conn.RemoteAddr()))
	}
	return addr
}

// own makes addr the address of the connection, unless it has one.
func (p *peerConn) own(addr net.Addr) net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr == nil {
		p.addr = addr
		if !p.gone {
			p.conn.srv.peers.Store(addr, p.conn)
		}
	}
	return p.addr
}

// forget lets no call lead to the connection any more.
func (p *peerConn) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	if p.addr != nil {
		p.conn.srv.peers.Delete(p.addr)
	}
}

func (p *peerConn) NetConn() net.Conn { return p.Conn }

// CloseWrite ends this side, where the connection can.
func (p *peerConn) CloseWrite() error {
	if cw, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A peerAddr is an address of a type of which it is not known how to copy it.
type peerAddr struct{ net.Addr }

// ownAddr returns a copy of an address, of the same type where that is one of the
// usual ones.
func ownAddr(a net.Addr) net.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		own := *a
		return &own
	case *net.UnixAddr:
		own := *a
		return &own
	}
	return &peerAddr{a}
}

// peer returns the connection whose remote address is a, or nil.
func (s *Server) peer(a net.Addr) *conn {
	switch a.(type) {
	case *net.TCPAddr, *net.UnixAddr, *peerAddr: // others need not even be comparable
		c, _ := s.peers.Load(a)
		found, _ := c.(*conn)
		return found
	}
	return nil
}

// beginCall notes that the handler of a call starts.
func (c *conn) beginCall(method string, cancel context.CancelCauseFunc) (id uint32) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return 0
	}
	c.isHTTP2Locked(nil) // TLS of which we know nothing
	id = c.nextIDLocked()
	c.http2.idle = false
	c.http2.streams[id] = stream{request{c.srv.clock(), methodGRPC, method}, cancel}
	c.mu.Unlock()
	if c.srv.cancelled.Load() { // after it is noted: one of the two sides sees the other
		cancel(ErrCut)
	}
	return id
}

// cancelCalls cancels the contexts of the calls that run, and of those to come.
func (s *Server) cancelCalls() {
	s.cancelled.Store(true)
	for _, c := range s.snapshot() {
		for _, cancel := range c.cancels() {
			cancel(ErrCut)
		}
	}
}

func (c *conn) cancels() (cancels []context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http2 != nil {
		for _, s := range c.http2.streams {
			cancels = append(cancels, s.cancel)
		}
	}
	return cancels
}

// callsUnknown reports whether c may carry calls that nobody has counted.
func (c *conn) callsUnknown() bool {
	return c.is(ofGRPC) && !c.srv.counted.Load() && c.reads.Load() > 0
}

// encrypted notes that what comes in on the socket of c is not HTTP/2: TLS, probably.
func (c *conn) encrypted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls = true
}

// leftToGracefulStopLocked reports whether only GracefulStop can end c. Unlike net/http's
// Shutdown it refuses no stream and waits for those that are open, so it comes as soon
// as clients have been told. That a client with TLS has ended its handshake is known
// only by Decrypted.
func (c *conn) leftToGracefulStopLocked(late bool) bool {
	if h := c.http2; h != nil {
		return late || h.goneLocked()
	}
	return c.tls && !c.srv.hooked.Load()
}

// gracefulStop lets the gRPC server end its own books, and reports whether nothing is
// left.
func (s *Server) gracefulStop(ctx context.Context) bool {
	s.graceful = make(chan struct{})
	go func() {
		defer close(s.graceful)
		s.contain("GracefulStop of the gRPC server", s.GRPC.GracefulStop)
	}()
	select {
	case <-s.graceful:
	case <-ctx.Done():
		return false
	}
	for s.open() > 0 && ctx.Err() == nil {
		s.wait(ctx, time.Time{}, true)
	}
	return s.open() == 0
}

// hangsInGRPC reports whether GracefulStop was called and has not returned.
func (s *Server) hangsInGRPC() bool {
	if s.graceful == nil {
		return false
	}
	select {
	case <-s.graceful:
		return false
	default:
		return true
	}
}

// stopGRPC has the gRPC server end by force, and waits for it until ctx is done.
func (s *Server) stopGRPC(ctx context.Context) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.contain("Stop of the gRPC server", s.GRPC.Stop)
	}()
	for _, done := range []<-chan struct{}{stopped, s.graceful} {
		if done == nil { // GracefulStop was not called
			continue
		}
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}
