// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// acceptGap is for how long the accept queue must have been empty, twice in a
	// row, before the listener is closed. It is also how long this goroutine may
	// be kept from running without a queue being taken for empty unseen: an
	// Accept whose deadline has passed does not look.
	acceptGap = 5 * time.Millisecond
	// acceptMax bounds the emptying of an accept queue that others keep filling.
	acceptMax = 100 * time.Millisecond
)

var errListenerDrained = errors.New("drain: listener closed")

// A listener hands its connections to the server, and closes itself once the
// drain asks for it and its accept queue is empty: closing a listening socket
// resets whatever waits there.
type listener struct {
	net.Listener
	srv    *Server
	tls    bool          // its connections speak TLS
	until  atomic.Int64  // the server's clock by which the queue must be empty; 0: open
	once   sync.Once     // guards the closing of closed
	closed chan struct{} // closed when Accept will not be called again
}

type deadliner interface{ SetDeadline(time.Time) error }

// Accept returns the next connection, until the listener is to be closed and no
// connection waits any more.
func (l *listener) Accept() (net.Conn, error) {
	empty := 0
	for {
		start := time.Now()
		until := l.until.Load()
		if until != 0 {
			d, ok := l.Listener.(deadliner)
			if !ok || l.srv.clock() > until {
				return nil, errListenerDrained
			}
			d.SetDeadline(start.Add(acceptGap))
		}
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			return l.srv.track(c, l.tls), nil
		case l.until.Load() == 0:
			return nil, err
		case errors.Is(err, net.ErrClosed):
			return nil, errListenerDrained
		case until != 0 && time.Since(start) >= acceptGap:
			if empty++; empty == 2 {
				return nil, errListenerDrained
			}
		}
		// The drain has just begun to close the listener, and has woken this
		// Accept by a deadline: empty the queue first.
	}
}

// startClosing makes Accept empty the queue and end. A listener that knows no
// deadlines is closed at once.
func (l *listener) startClosing() {
	l.until.Store(l.srv.clock() + int64(acceptMax))
	if d, ok := l.Listener.(deadliner); ok {
		d.SetDeadline(time.Now())
	} else {
		l.Listener.Close()
	}
}

// finish is called when Accept will not be called again.
func (l *listener) finish() {
	l.Listener.Close()
	l.once.Do(func() { close(l.closed) })
	l.srv.mu.Lock()
	delete(l.srv.listeners, l)
	l.srv.mu.Unlock()
}
