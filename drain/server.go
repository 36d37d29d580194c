// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults for the fields of [Server].
const (
	DefaultFloor  = 5 * time.Second // inside Kubernetes; outside it there is none
	DefaultQuiet  = 1 * time.Second
	DefaultCap    = 15 * time.Second // when Drain's context has no deadline
	DefaultLinger = 2 * time.Second
	DefaultSilent = 2 * time.Second
)

// ErrCut is wrapped by the error of [Server.Drain] when something had to be
// ended by force, and is the cause of a request's context that is cancelled
// shortly before that.
var ErrCut = errors.New("drain: cut at the deadline")

// A Server serves an [http.Server] and takes it off the air. HTTP and IsProbe must
// be set before the first call of Serve and not be changed after it; the
// durations are read when Drain begins.
type Server struct {
	// HTTP is the server to be served and drained. It is required. Serve wraps
	// its Handler, ConnState, ConnContext and BaseContext; what the caller has
	// put there goes on working, and is given the connection and the listener as
	// they are. A hijacked connection is of a type of this package; its NetConn
	// method returns the one that was accepted. The caller must not call HTTP's
	// Serve, Shutdown, Close or SetKeepAlivesEnabled.
	HTTP *http.Server

	// Floor is the shortest time for which new connections are still accepted
	// after Drain is called. It should cover the time that load balancers need
	// to notice. Zero means DefaultFloor inside Kubernetes (KUBERNETES_SERVICE_HOST
	// is set) and none outside; negative means none.
	Floor time.Duration

	// Quiet is how long no new connection may have brought traffic before the
	// accept window ends. It counts from Drain's call unless the server was idle
	// by then, so a server without traffic need not wait. Zero means
	// DefaultQuiet; negative means that the floor alone decides.
	Quiet time.Duration

	// Cap is the longest the accept window may last, traffic or not. Zero means
	// half of the time that Drain is given, or DefaultCap when it has no
	// deadline, and never less than the floor. Negative means no cap but Drain's
	// own deadline.
	Cap time.Duration

	// Linger is how long a connection may have been idle, counted from Drain's
	// call at the earliest, before it is closed. No idle connection is closed
	// before the listener has been closed for 300 ms. Each connection's own time is up to a fifth
	// shorter, so that clients do not come back at one instant. Zero means
	// DefaultLinger; negative means that idle connections are closed as soon as
	// the listener is.
	Linger time.Duration

	// Silent is how long a connection that has never sent a byte is kept once
	// the listener is closed, counted from its accept. Zero means DefaultSilent;
	// negative means no time.
	Silent time.Duration

	// IsProbe reports whether a request comes from a prober. Probes are
	// answered like any request but are not traffic: they do not prolong the
	// accept window. Nil means [IsProbe].
	IsProbe func(*http.Request) bool

	prepare  sync.Once
	drained  chan struct{} // closed when report and drainErr are set
	report   Report
	drainErr error

	windowClosed chan struct{} // closed when no listener is open any more
	changed      chan struct{} // capacity 1: something that a waiting drain looks at
	phase        atomic.Int32  // a phase; written by enter only
	t0           time.Time     // set before phase leaves serving, as floor is
	floor        time.Duration
	closedAt     time.Time    // when the listeners were closed; Drain's goroutine only
	epoch        time.Time    // what clock counts from; set by setup
	lastNew      atomic.Int64 // the clock when traffic last came on a new connection; 0: never
	counters     counters
	http2        atomic.Int64 // open connections that speak HTTP/2

	mu        sync.Mutex // guards what follows
	draining  bool       // Drain was called
	conns     map[*conn]struct{}
	listeners map[*listener]struct{}
	cancels   []context.CancelCauseFunc // of the base contexts
}

// A phase is a part of a server's life. It only ever grows.
type phase int32

const (
	serving phase = iota // before Drain
	window               // Drain was called, listeners open
	closing              // listeners closing or closed
	cutting              // past the deadline
)

func (s *Server) enter(p phase) { s.phase.Store(int32(p)) }
func (s *Server) in() phase     { return phase(s.phase.Load()) }

// Serve accepts connections on l and serves them until Drain closes l; it then
// returns [http.ErrServerClosed], while Drain still waits for connections. It
// closes l in every case. It returns an error at once when HTTP is nil or when l
// is of [tls.NewListener], for which there is ServeTLS; and ErrServerClosed when
// Drain was called before.
//
// The accept queue of a listener that has a SetDeadline method, as those of TCP
// and of Unix sockets have, is emptied before the close. Another one is just
// closed, and what waits in its queue is reset.
func (s *Server) Serve(l net.Listener) error {
	return s.serve(&listener{Listener: l}, func(l net.Listener) error { return s.HTTP.Serve(l) })
}

// ServeTLS is like Serve for TLS connections. The files may be empty when
// HTTP.TLSConfig has a certificate, as for [http.Server.ServeTLS].
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	return s.serve(&listener{Listener: l, tls: true}, func(l net.Listener) error { return s.HTTP.ServeTLS(l, certFile, keyFile) })
}

func (s *Server) serve(l *listener, accept func(net.Listener) error) error {
	l.srv, l.closed = s, make(chan struct{})
	if s.HTTP == nil {
		l.Close()
		return errors.New("drain: Server.HTTP is nil")
	}
	if fmt.Sprintf("%T", l.Listener) == "*tls.listener" {
		l.Close()
		return errors.New("drain: Serve was given a TLS listener; use ServeTLS with the one inside")
	}
	s.prepare.Do(s.wrap)
	if !s.add(l) {
		l.Close()
		return http.ErrServerClosed
	}
	defer l.finish()
	err := accept(l)
	if s.in() != serving {
		return http.ErrServerClosed
	}
	return err
}

// setup makes what both Serve and Drain need, whichever comes first.
func (s *Server) setup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns != nil {
		return
	}
	s.epoch = time.Now().Add(-1) // no reading is 0
	s.conns = make(map[*conn]struct{})
	s.listeners = make(map[*listener]struct{})
	s.drained = make(chan struct{})
	s.windowClosed = make(chan struct{})
	s.changed = make(chan struct{}, 1)
}

// clock returns the nanoseconds since epoch, by the monotonic clock.
func (s *Server) clock() int64 { return int64(time.Since(s.epoch)) }

// wrap puts the server's own functions around those of HTTP.
func (s *Server) wrap() {
	s.setup()
	h := s.HTTP
	next := h.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	h.Handler = &handler{srv: s, next: next}
	h.ConnContext = s.connContext(h.ConnContext)
	h.ConnState = s.connState(h.ConnState)
	h.BaseContext = s.baseContext(h.BaseContext)
}

func (s *Server) connContext(next func(context.Context, net.Conn) context.Context) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, nc net.Conn) context.Context {
		if next != nil {
			ctx = next(ctx, accepted(nc))
		}
		return context.WithValue(ctx, connKey{}, tracked(nc))
	}
}

func (s *Server) connState(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(nc net.Conn, state http.ConnState) {
		if next != nil { // first: once the server knows of the last end, Drain returns
			next(accepted(nc), state)
		}
		c := tracked(nc)
		if c == nil {
			return
		}
		switch state {
		case http.StateIdle:
			c.idle()
		case http.StateHijacked:
			c.hijacked()
		case http.StateClosed:
			c.ended()
		}
	}
}

// baseContext makes the root of all request contexts one that can be cancelled
// with a cause, so that no request needs a context of its own for it.
func (s *Server) baseContext(next func(net.Listener) context.Context) func(net.Listener) context.Context {
	return func(l net.Listener) context.Context {
		ctx := context.Background()
		if next != nil {
			if ours, ok := l.(*listener); ok {
				l = ours.Listener
			}
			ctx = next(l)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		s.mu.Lock()
		s.cancels = append(s.cancels, cancel)
		s.mu.Unlock()
		return ctx
	}
}

// add registers a listener, or reports false when it is too late for one.
func (s *Server) add(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in() != serving {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// AcceptWindowClosed returns a channel that is closed when Drain has closed the
// listeners and new connections are refused.
func (s *Server) AcceptWindowClosed() <-chan struct{} {
	s.setup()
	return s.windowClosed
}

// Open returns how many connections are open, hijacked ones included. It may be
// called at any time.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// track takes over a connection that was just accepted.
func (s *Server) track(nc net.Conn, tls bool) *conn {
	c := &conn{Conn: nc, srv: s, tls: tls, accepted: time.Now()}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return c
}

// remove forgets a connection that is closed and on which no handler runs.
func (s *Server) remove(c *conn) {
	if c.http2 { // it does not change any more
		s.http2.Add(-1)
	}
	s.mu.Lock()
	delete(s.conns, c)
	left := int64(len(s.conns))
	s.mu.Unlock()
	if left <= s.http2.Load() { // nothing is left, or only what Shutdown ends
		s.wake()
	}
}

// wake makes a waiting Drain look again.
func (s *Server) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// tracked returns the server's own connection inside nc, or nil.
func tracked(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// accepted returns nc as the caller's hooks are to see it.
func accepted(nc net.Conn) net.Conn {
	if c, ok := nc.(*conn); ok {
		return c.Conn
	}
	return nc
}

// EnvironmentFloor returns the floor of a Server that sets none: DefaultFloor
// inside Kubernetes, which sets KUBERNETES_SERVICE_HOST in every container, and
// zero outside, so that an interrupt from a terminal ends the process at once.
func EnvironmentFloor() time.Duration {
	if os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return 0
	}
	return DefaultFloor
}

// or returns d, or def when d is zero, or zero when d is negative.
func or(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return max(d, 0)
}
