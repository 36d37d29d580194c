// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
)

const (
	// acceptGap is for how long the accept queue must have been empty, twice in a
	// row, before the listener is closed. It is also how long this goroutine may
	// be kept from running without a queue being taken for empty unseen: an
	// Accept whose deadline has passed does not look.
	acceptGap = 5 * time.Millisecond
	// acceptMax bounds the emptying of an accept queue that others keep filling.
	acceptMax = 100 * time.Millisecond
	// handshakeWait is for how long the last packets of handshakes that have begun
	// are waited for, once no other can begin. It has to be a round trip.
	handshakeWait = 100 * time.Millisecond
)

// errTLS is for listeners that speak TLS themselves: net/http would not find the
// tls.Conn inside ours, and with it neither HTTP/2 nor Request.TLS.
var errTLS = errors.New("drain: Serve was given a TLS listener; use ServeTLS with the one inside")

var errListenerDrained = errors.New("drain: listener closed")

// Listen opens a listener that a [Server] can close without a reset to anybody.
// Closing a listening socket resets what waits in its accept queue, and emptying
// the queue first is a race against those who still come. So on Linux the drain
// lets no new handshake begin, waits 100 ms for the end of those that have begun,
// serves what waits, and only then closes the socket. A client whose first packet
// comes in that time is refused a second later, when its kernel sends it again.
//
// This takes a TCP socket that is nobody else's, and not one of Multipath TCP, as
// those of [net.Listen] are where the kernel has it: it knows no socket filters.
// For other networks than TCP Listen is net.Listen.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, network, address)
	if tl, ok := l.(*net.TCPListener); ok {
		return &ownListener{tl}, err
	}
	return l, err
}

// An ownListener is a TCP socket that no other process can hold: it was opened
// here, and has no File method.
type ownListener struct{ tcpListener }

// A tcpListener is what is needed of a net.TCPListener.
type tcpListener interface {
	net.Listener
	syscall.Conn
	deadliner
}

type deadliner interface{ SetDeadline(time.Time) error }

// A listener hands its connections to the server, and closes itself once the
// drain asks for it and its accept queue is empty.
type listener struct {
	srv    *Server
	tls    bool          // its connections speak TLS
	given  net.Listener  // what Serve was called with
	once   sync.Once     // guards the closing of closed
	closed chan struct{} // closed when Accept will not be called again
	shut   atomic.Bool   // Close of one of the program's own has been called, while draining

	mu      sync.Mutex    // guards what follows; nothing is called under it
	inner   net.Listener  // given, or what has taken its place
	closing bool          // the queue is to be emptied
	wait    time.Duration // for handshakes that have begun

	emptied time.Time // by when the queue must be empty; Accept's goroutine only
}

func newListener(s *Server, l net.Listener, tls bool) *listener {
	return &listener{srv: s, tls: tls, given: l, inner: l, closed: make(chan struct{})}
}

// Addr and Close are the listener's own.
func (l *listener) Addr() net.Addr { return l.given.Addr() }
func (l *listener) Close() error {
	inner, _, _ := l.state()
	return l.close(inner)
}

// close is the same for what has been or is the inner listener, see closeGiven.
func (l *listener) close(inner net.Listener) error {
	if l.srv.in() != serving && !plain(inner) && l.shut.Swap(true) {
		return net.ErrClosed
	}
	return l.srv.close("listener", inner)
}

// name names a method of the listener.
func (l *listener) name(method string) string {
	return fmt.Sprintf("%s of the listener %T", method, l.given)
}

// admit takes over a connection that was accepted, unless it is too late: nobody
// would close it any more.
func (l *listener) admit(nc net.Conn) (net.Conn, error) {
	if l.srv.in() >= ending {
		l.srv.close("connection", nc)
		return nil, errListenerDrained
	}
	if _, ok := nc.(*tls.Conn); ok {
		nc.Close()
		return nil, errTLS
	}
	if l.srv.GRPC != nil {
		return l.srv.trackGRPC(nc), nil
	}
	return l.srv.track(nc, l.tls), nil
}

func (l *listener) state() (inner net.Listener, closing bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inner, l.closing, l.wait
}

// Accept returns the next connection, until the listener is to be closed and no
// connection waits any more.
func (l *listener) Accept() (net.Conn, error) {
	empty := 0
	for {
		inner, closing, wait := l.state()
		if closing {
			if c, err := l.acceptLast(inner, wait, &empty); c != nil || err != nil {
				return c, err
			}
			continue
		}
		c, err := inner.Accept()
		if err == nil {
			return l.admit(c)
		}
		if _, closing, _ = l.state(); !closing {
			return nil, err
		}
		// The drain has just begun to close the listener, and has woken this
		// Accept: empty the queue first.
	}
}

// acceptLast looks into the accept queue of a listener that is to be closed, for
// acceptGap or, while handshakes may come to their end, for longer. It returns
// neither a connection nor an error when the queue has to be looked at again.
func (l *listener) acceptLast(inner net.Listener, wait time.Duration, empty *int) (net.Conn, error) {
	if !l.srv.has(emptyQueue) {
		return nil, errListenerDrained
	}
	now := time.Now()
	if l.emptied.IsZero() {
		l.emptied = now.Add(wait + acceptMax)
	}
	if wait == 0 && now.After(l.emptied) { // others keep filling it
		return nil, errListenerDrained
	}
	gap := max(acceptGap, l.emptied.Add(-acceptMax).Sub(now))
	if !l.setDeadline(inner, now.Add(gap)) {
		return nil, errListenerDrained
	}
	c, err := l.accept(inner)
	switch {
	case err == nil:
		return l.admit(c)
	case err == errListenerDrained || errors.Is(err, net.ErrClosed) || time.Now().After(l.emptied):
		return nil, errListenerDrained
	case !errors.Is(err, os.ErrDeadlineExceeded): // such as too many open files
		time.Sleep(acceptGap)
	case time.Since(now) >= gap:
		*empty++
	}
	if *empty == 2 {
		return nil, errListenerDrained
	}
	return nil, nil
}

// accept is Accept of a listener that is to be closed.
func (l *listener) accept(inner net.Listener) (c net.Conn, err error) {
	err = errListenerDrained
	l.srv.contain(l.name("Accept"), func() { c, err = inner.Accept() })
	return c, err
}

// startClosing makes Accept empty the queue and end, after waiting for handshakes
// that have begun if wait says so and no other can begin.
func (l *listener) startClosing(wait time.Duration) {
	inner := l.given
	var next net.Listener
	switch given := l.given.(type) {
	case *ownListener:
		if wait == 0 || !l.srv.has(synFilter) || !sock.BlockHandshakes(given) {
			wait = 0
		}
	case *net.UnixListener:
		next = unlinked(given)
		wait = 0
	default:
		wait = 0
	}
	l.mu.Lock()
	l.closing, l.wait = true, wait
	if next != nil {
		l.inner = next
	}
	l.mu.Unlock()
	if next != nil || !l.setDeadline(inner, time.Now()) {
		l.close(inner)
	}
}

// setDeadline reports whether it has set the deadline of Accept.
func (l *listener) setDeadline(inner net.Listener, t time.Time) (set bool) {
	d, ok := inner.(deadliner)
	if !ok {
		return false
	}
	if plain(inner) {
		return d.SetDeadline(t) == nil
	}
	set, _ = briefly(l.srv, l.name("SetDeadline"), func() bool { return d.SetDeadline(t) == nil })
	return set
}

// unlinked returns a listener on the same Unix socket as l, so that l can be
// closed, and with it the socket's name in the file system be removed, if l is
// who removes it, before the queue is emptied. It returns nil if there is none.
func unlinked(l *net.UnixListener) net.Listener {
	f, err := l.File()
	if err != nil {
		return nil
	}
	defer f.Close()
	next, err := net.FileListener(f)
	if err != nil {
		return nil
	}
	return next
}

// finish is called when Accept will not be called again.
func (l *listener) finish() {
	defer func() {
		l.once.Do(func() { close(l.closed) })
		l.srv.mu.Lock()
		delete(l.srv.listeners, l)
		l.srv.mu.Unlock()
	}()
	l.Close()
}
