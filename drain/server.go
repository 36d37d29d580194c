// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/internal/drains"
	"github.com/lameduck-go/lameduck/internal/kubernetes"
)

// Defaults for the fields of [Server].
const (
	DefaultFloor  = 5 * time.Second  // inside Kubernetes; outside it there is none
	DefaultQuiet  = 1 * time.Second  // or more, with a long floor: see Server.Quiet
	DefaultCap    = 15 * time.Second // when Drain's context has no deadline
	DefaultLinger = 2 * time.Second
	DefaultSilent = 2 * time.Second
)

var (
	// ErrDraining is the cause of the context of a [LongLived] request that is told
	// to go, and the error of [Tracker.Start] once the tracker drains.
	ErrDraining = errors.New("drain: draining")

	// ErrCut is wrapped by the error of a Drain that had to end something by
	// force, and is the cause of a context that is cancelled shortly before that.
	ErrCut = errors.New("drain: cut at the deadline")
)

// A Server serves an [http.Server] or a gRPC server and takes it off the air. Its
// fields must be set before the first call of Serve and not be changed after it, but
// for the durations, which are read when Drain begins.
type Server struct {
	// HTTP is the server to be served and drained, unless that is GRPC. Serve wraps
	// its Handler, ConnState, ConnContext and BaseContext; what the caller has
	// put there goes on working, and is given the connection and the listener as
	// they are. A hijacked connection is of a type of this package; its NetConn
	// method returns the one that was accepted, but only its own Close tells the
	// server that it has ended. The functions of RegisterOnShutdown are called by
	// Shutdown, so when nothing is left, or at the cut; what they are to end is told
	// before by Draining. The caller must not call HTTP's Serve, Shutdown, Close or
	// SetKeepAlivesEnabled, nor give it to another Server.
	HTTP *http.Server

	// GRPC is the gRPC server to be served and drained. Either HTTP or GRPC is set. Its
	// interceptors make Call; without that connections count as traffic when they are
	// accepted, streams are not told, and what is cut has no names. The caller must not
	// call GRPC's Serve, GracefulStop or Stop, nor use its ServeHTTP beside it, since
	// GracefulStop ends what goes on there. The connections are of a type of this
	// package, so grpc-go does not set TCP_USER_TIMEOUT on them; its keepalive is as it
	// is, and the NetConn method leads to the connection that was accepted. Linger and Route have no meaning here.
	GRPC GRPCServer

	// Floor is the shortest time for which new connections are still accepted
	// after Drain is called. It should cover the time that load balancers need
	// to notice. Zero means DefaultFloor inside Kubernetes (KUBERNETES_SERVICE_HOST
	// is set) and none outside; negative means none.
	Floor time.Duration

	// Quiet is how long no new connection may have brought traffic before the
	// accept window ends. It counts from Drain's call unless the server was idle
	// by then, so a server without traffic need not wait, and begins anew when the
	// process has stood still for 0.3 s or more: it has not seen who came. It is
	// evidence and no promise: where balancers take longer than the floor to notice,
	// a client that dials seldom may come after it. The slower they are, the rarer are
	// the dials of the last that have not noticed: zero means two fifths of the floor,
	// and DefaultQuiet at least. Negative means that the floor alone decides.
	Quiet time.Duration

	// Cap is the longest the accept window may last, traffic or not. Zero means
	// half of the time that Drain is given, or DefaultCap when it has no
	// deadline, and never less than the floor. Negative means no cap but Drain's
	// own deadline.
	Cap time.Duration

	// Linger is how long a connection may have been idle, counted from Drain's
	// call at the earliest, before it is closed. No idle connection is closed
	// before the listener has been closed for 300 ms. Each connection's own time
	// is up to a fifth shorter, so that clients do not come back at one instant.
	// Zero means DefaultLinger; negative means that idle connections are closed
	// as soon as the listener is.
	Linger time.Duration

	// Silent is how long a connection that has never sent a byte is kept once
	// the listener is closed, counted from its accept. Zero means DefaultSilent;
	// negative means no time.
	Silent time.Duration

	// Spread is the time from Drain's call over which handlers that ask for it,
	// by [Draining] or [LongLived], are told to go: each connection at an instant
	// of its own, so that thousands of clients do not come back at one. Zero means
	// the floor; negative means at once. It is never more than half of the time
	// that Drain is given. Connections that are accepted after Drain's call are told
	// once the accept window is closed, within a second. HTTP/2 clients are told to
	// go by themselves in the first half of either time, and their handlers once the
	// client has confirmed it. An idle one is not closed before.
	Spread time.Duration

	// FailureThreshold makes the accept window wait, within the cap, until every
	// prober has been given this many failing answers (4xx or 5xx) in a row since
	// Drain's call: evidence that a load balancer with health checks of its own has
	// noticed. Zero or negative means that no prober is waited for.
	//
	// A prober is a remote host, a User-Agent and a path of which two requests have
	// come less than a minute apart; a single one, as of a person with curl, holds
	// nothing up. It is taken to have gone, and no longer waited for, once it has
	// not asked for three of its intervals, or for a minute. Its interval is the
	// longest time between its requests of late. So the cap should leave room for
	// the threshold times the interval, and one whose interval is a minute or more
	// is never waited for.
	//
	// A prober that is answered 2xx or 3xx after Drain's call asks for something
	// else than readiness, and is not waited for; nor is the kubelet, which takes no
	// part in routing once a pod terminates. Probes that another listener serves are
	// seen by WatchProbes; checks that only connect are not seen, nor are those of
	// gRPC. Probers behind one
	// address that call themselves the same count as one, and share its answers.
	// At most 1024 are remembered: a new one takes the place of the one that asked
	// longest ago, of those that have asked once or have gone if there are any.
	FailureThreshold int

	// IsProbe reports whether a request comes from a prober. Probes are
	// answered like any request but are not traffic: they do not prolong the
	// accept window. Nil means [IsProbe].
	IsProbe func(*http.Request) bool

	// Route returns the pattern of the route that serves a request, for the lines
	// of [Report.Cut]. It is given a request with no more than a Method and a
	// path. An empty answer stands for the path, and so does a nil Route, unless
	// HTTP.Handler is an [http.ServeMux], which is then asked.
	Route func(*http.Request) string

	starting sync.Mutex                 // held while net/http sets HTTP up for a Serve
	started  func()                     // unlocks starting, which guards it too, and
	wrapped  bool                       // wrapHTTP2 was called
	prepare  sync.Once                  // guards the wrapping of HTTP, and of
	route    func(*http.Request) string // Route or what stands for it, or nil
	drained  chan struct{}              // closed when report and drainErr are set
	report   Report
	drainErr error

	served        chan struct{} // closed when it has its first listener
	windowClosed  chan struct{} // closed when no listener is open any more
	changed       chan struct{} // capacity 1: something that a waiting drain looks at
	phase         atomic.Int32  // a phase; written by enter only
	t0            int64         // the clock at Drain's call; set before phase leaves serving, as floor, quiet, spread and patience are
	floor         time.Duration
	quiet         time.Duration // 0: the floor alone decides
	spread        time.Duration
	patience      time.Duration
	hung          atomic.Int32 // how often a name or an answer of the program's has not come
	shutdownBegun bool         // HTTP.Shutdown was called; Drain's goroutine only
	closedAt      int64        // the clock when the listeners were closed; Drain's goroutine only
	epoch         time.Time    // what clock counts from; set by setup
	lastNew       atomic.Int64 // the clock when traffic last came on a new connection; 0: never
	stoodStill    int64        // the clock when the process last went on; 0: it has always run; Drain's goroutine only
	counters      counters
	probers       probers
	http2         atomic.Int64 // open connections that speak HTTP/2
	off           mechanism    // set by tests only

	peers     sync.Map      // the connections of GRPC, by their own remote address
	counted   atomic.Bool   // Call was called
	hooked    atomic.Bool   // Decrypted was called
	cancelled atomic.Bool   // the contexts of calls were cancelled
	graceful  chan struct{} // closed when GracefulStop has returned; nil before its call; Drain's goroutine only

	mu        sync.Mutex // guards what follows
	draining  bool       // Drain was called
	conns     int        // how many are open
	last      *conn      // the head of their list, which takes less room than a map
	listeners map[*listener]struct{}
	cancels   []context.CancelCauseFunc // of the base contexts
	faults    faults
}

// A phase is a part of a server's life. It only ever grows.
type phase int32

const (
	serving   phase = iota // before Drain
	window                 // Drain was called, listeners open
	closing                // accept queues are emptied, listeners closed
	lingering              // connections may still bring requests
	ending                 // net/http's Shutdown, or the cut
	cutting                // past the deadline
	phases                 // how many there are
)

func (s *Server) enter(p phase) { s.phase.Store(int32(p)) }
func (s *Server) in() phase     { return phase(s.phase.Load()) }

// Mechanisms are what tests switch off one by one, to show what each is for: a
// mechanism without which nothing is lost would have no place here. (The quiet
// period and the idle time are switched off by the fields.)
type mechanism uint8

const (
	closeHeader mechanism = 1 << iota // "Connection: close" on answers
	emptyQueue                        // the accept queue is emptied before the close
	synFilter                         // no handshake begins while it is emptied
	byteCheck                         // bytes that have come in keep a connection
	lingerOn                          // connections are waited for before Shutdown
	stagedClose                       // what a client sends past the answer is read
	twoSteps                          // HTTP/2 clients are told to go before streams are refused
)

func (s *Server) has(m mechanism) bool { return s.off&m == 0 }

// Serve accepts connections on l and serves them until Drain closes l; it then
// returns [http.ErrServerClosed], while Drain still waits for connections. It
// closes l in every case. It returns an error at once when neither HTTP nor GRPC is
// set, or both are, or when l is of [tls.NewListener], for which there is ServeTLS; and
// ErrServerClosed when Drain was called before.
//
// What waits in the accept queue is served before l is closed, if l has a
// SetDeadline method, as the listeners of TCP and of Unix sockets have. Another
// one is just closed, and what waits there is reset. A listener of [Listen] goes
// further. One that another process holds too, as with systemd's socket
// activation, goes on existing, and so does its queue.
func (s *Server) Serve(l net.Listener) error {
	if l == nil {
		return errNoListener
	}
	return s.serve(newListener(s, l, false), func(l net.Listener) error {
		if s.GRPC != nil {
			s.started() // it sets nothing up of which another Serve must be kept away
			return s.GRPC.Serve(l)
		}
		return s.HTTP.Serve(l)
	})
}

// ServeTLS is like Serve for TLS connections. The files may be empty when
// HTTP.TLSConfig has a certificate, as for [http.Server.ServeTLS]. With GRPC it is an
// error: TLS is for its credentials, see [Decrypted].
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	if l == nil {
		return errNoListener
	}
	return s.serve(newListener(s, l, true), func(l net.Listener) error { return s.HTTP.ServeTLS(l, certFile, keyFile) })
}

var errNoListener = errors.New("drain: the listener is nil")

func (s *Server) serve(l *listener, accept func(net.Listener) error) error {
	if err := s.check(l); err != nil {
		l.Close()
		return err
	}
	s.prepare.Do(s.wrap)
	if !s.add(l) {
		l.Close()
		return http.ErrServerClosed
	}
	defer l.finish()
	s.starting.Lock()
	s.started = sync.OnceFunc(s.starting.Unlock)
	defer s.started()
	err := accept(l)
	if _, closing, _ := l.state(); closing {
		return http.ErrServerClosed
	}
	return err
}

// check reports what is wrong with the server or the listener.
func (s *Server) check(l *listener) error {
	tls := fmt.Sprintf("%T", l.inner) == "*tls.listener"
	switch {
	case s.HTTP == nil && s.GRPC == nil:
		return errNeither
	case s.HTTP != nil && s.GRPC != nil:
		return errBoth
	case s.GRPC != nil && (tls || l.tls):
		return errGRPCTLS
	case tls:
		return errTLS
	}
	return nil
}

// setup makes what both Serve and Drain need, whichever comes first.
func (s *Server) setup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners != nil {
		return
	}
	s.epoch = time.Now().Add(-1) // no reading is 0
	s.listeners = make(map[*listener]struct{})
	s.served = make(chan struct{})
	s.drained = make(chan struct{})
	s.windowClosed = make(chan struct{})
	s.changed = make(chan struct{}, 1)
}

// clock returns the nanoseconds since epoch, by the monotonic clock. A time kept
// so takes a third of a time.Time, and there are some for each connection.
func (s *Server) clock() int64 { return int64(time.Since(s.epoch)) }

// at returns the time of a reading of the clock.
func (s *Server) at(clock int64) time.Time { return s.epoch.Add(time.Duration(clock)) }

// reading returns the reading of the clock at a deadline, of which 0 means none.
func (s *Server) reading(deadline time.Time) int64 {
	if deadline.IsZero() {
		return 0
	}
	return max(int64(deadline.Sub(s.epoch)), 1)
}

// deadlineAt is the other way round.
func (s *Server) deadlineAt(reading int64) time.Time {
	if reading == 0 {
		return time.Time{}
	}
	return s.at(reading)
}

// add registers a listener, or reports false when it is too late for one.
func (s *Server) add(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in() != serving {
		return false
	}
	s.listeners[l] = struct{}{}
	select {
	case <-s.served:
	default:
		close(s.served)
	}
	return true
}

func init() {
	drains.Serving = func(server any) <-chan struct{} {
		s := server.(*Server)
		s.setup()
		return s.served
	}
}

// AcceptWindowClosed returns a channel that is closed when Drain has closed the
// listeners and new connections are refused.
func (s *Server) AcceptWindowClosed() <-chan struct{} {
	s.setup()
	return s.windowClosed
}

// defaultFloor is zero outside Kubernetes, so that an interrupt from a terminal
// ends the process at once.
func defaultFloor() time.Duration {
	if kubernetes.Inside() {
		return DefaultFloor
	}
	return 0
}

// or returns d, or def when d is zero, or zero when d is negative.
func or(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return min(max(d, 0), forever)
}
