// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
)

// connKey is the key of a request's *conn in its context.
type connKey struct{}

// minLinger is how long every idle connection is kept after the listener is
// closed, however long it has been idle before: more of those that speak once in
// a few seconds get to be told.
const minLinger = 300 * time.Millisecond

// halfRequest is for how long a client may pause in the middle of a request's
// header once the listener is closed. It is what net/http gives a new connection
// in Shutdown.
const halfRequest = 5 * time.Second

// A connState is what a connection is doing, as far as a drain must know.
type connState int

const (
	stateNew    connState = iota // no request has been read yet
	stateActive                  // a request is being served
	stateIdle                    // kept alive, between two requests
	stateHijacked
)

// A conn is an accepted connection and what is known of it. It ends, for the
// server, when it is closed and no handler runs on it any more.
//
// Nothing here reads the clock while the server is not draining: an idle
// connection's time counts from T0 at the earliest anyway.
type conn struct {
	net.Conn
	srv      *Server
	tls      bool // TLS is spoken over it
	accepted time.Time

	reads    atomic.Uint64 // how often bytes have come in
	expiring atomic.Bool   // the drain asks Read to end the connection; set under mu

	mu       sync.Mutex // guards what follows; nothing is called under it but the socket
	state    connState
	mark     uint64        // reads when the connection fell idle
	seen     uint64        // reads when the drain last looked
	seenAt   time.Time     // when seen last changed; zero: not looked yet
	since    time.Time     // when it fell idle while draining; zero: before T0
	idleFor  time.Duration // how long it may be idle; zero: not settled yet
	traffic  bool          // it has brought a request that is not a probe
	http2    bool
	closed   bool
	inFlight []request
	lastID   uint64
}

// A request is one that a handler is serving.
type request struct {
	id           uint64
	method, path string
	start        time.Time // zero: before T0
}

// Read counts what comes in, and ends an idle connection when the drain asks for
// it. The drain cannot simply close the connection: Read may have taken a
// request from the kernel an instant before. So the drain sets expiring and a
// deadline in the past, and the goroutine that reads decides. It either has
// bytes, and then the connection lives on to be answered, or it looks into the
// socket once more and reports the end of the stream.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.reads.Add(1)
			if c.expiring.Load() {
				c.revive()
			}
			return n, err
		}
		if err == nil || !c.expiring.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if sock.Peek(c.Conn) != sock.Data {
			c.srv.counters.ended(c.idleFor != 0)
			return 0, io.EOF
		}
		c.revive()
	}
}

// revive takes back the deadline that expire has set.
func (c *conn) revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiring.Swap(false) {
		c.Conn.SetReadDeadline(time.Time{})
	}
}

// expireLocked asks the goroutine that reads from c to end it, if nothing has
// come in since reads was as given. It asks again when called again, because
// net/http may have set a deadline of its own after the first time.
func (c *conn) expireLocked(reads uint64) bool {
	// The order matters: Read adds to reads before it looks at expiring, so one
	// of the two sides sees the other.
	c.expiring.Store(true)
	if c.reads.Load() != reads {
		c.expiring.Store(false)
		return false
	}
	c.Conn.SetReadDeadline(time.Unix(1, 0))
	return true
}

// ReadFrom lets net/http go on using sendfile and splice.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite lets net/http end its side first, so that a client gets the answer
// before it learns that the rest of its request is not wanted.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Conn.Close()
}

// NetConn returns the connection as it was accepted.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Close closes the connection. net/http says by StateClosed when it has done with
// it, a little later; of a hijacked one this is the last that is heard.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	hijacked := c.state == stateHijacked
	c.mu.Unlock()
	if hijacked {
		c.ended()
	}
	return err
}

// ended notes that nothing will come on c any more.
func (c *conn) ended() {
	c.mu.Lock()
	gone := !c.closed && len(c.inFlight) == 0
	c.closed = true
	c.mu.Unlock()
	if gone {
		c.srv.remove(c)
	}
}

// begin notes that a handler starts on r, and reports whether this is the first
// traffic that c brings.
func (c *conn) begin(r *http.Request, probe bool) (id uint64, first bool) {
	var start time.Time
	if c.srv.in() != serving {
		start = time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	c.inFlight = append(c.inFlight, request{c.lastID, r.Method, r.URL.Path, start})
	c.state = stateActive
	if r.ProtoMajor == 2 {
		c.isHTTP2Locked()
	}
	if c.expiring.Swap(false) { // the request was read before the drain asked
		c.Conn.SetReadDeadline(time.Time{})
	}
	first = !probe && !c.traffic
	c.traffic = c.traffic || !probe
	return c.lastID, first
}

// end notes that the handler of request id has returned.
func (c *conn) end(id uint64) {
	c.mu.Lock()
	i := slices.IndexFunc(c.inFlight, func(r request) bool { return r.id == id })
	c.inFlight = slices.Delete(c.inFlight, i, i+1)
	gone := c.closed && len(c.inFlight) == 0
	c.mu.Unlock()
	if gone {
		c.srv.remove(c)
	}
}

// idle notes that c waits for its next request.
func (c *conn) idle() {
	draining := c.srv.in() != serving
	c.mu.Lock()
	c.state = stateIdle
	c.mark = c.reads.Load()
	if c.lastID == 0 { // net/http calls only HTTP/2 idle before its first request
		c.isHTTP2Locked()
	}
	if draining {
		c.since = time.Now()
	}
	c.mu.Unlock()
	if draining {
		c.srv.wake()
	}
}

func (c *conn) isHTTP2Locked() {
	if !c.http2 {
		c.http2 = true
		c.srv.http2.Add(1)
	}
}

// hijacked notes that a handler has taken c over.
func (c *conn) hijacked() {
	c.mu.Lock()
	c.state = stateHijacked
	c.mu.Unlock()
}

// sweep ends c when it has been idle or silent for long enough, or, when it is
// late, as soon as nothing is under way on it. It returns when it wants to be
// called again at the latest, or the zero time when only an event can bring that
// about.
func (c *conn) sweep(now time.Time, late bool) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.http2 || c.state != stateIdle && c.state != stateNew {
		return time.Time{}
	}
	if reads := c.reads.Load(); c.seenAt.IsZero() || reads != c.seen {
		c.seen, c.seenAt = reads, now
	}
	var due time.Time
	switch {
	case c.seen != c.mark && !(c.tls && c.state == stateNew):
		due = c.seenAt.Add(halfRequest)
	case late:
		due = now
	case c.state == stateIdle:
		due = c.idleDueLocked()
	default:
		due = c.silentDueLocked()
	}
	if due.After(now) {
		return due
	}
	c.expireLocked(c.seen)
	return now // until Read has noticed, or, if bytes have come in just now, again
}

// idleDueLocked returns when an idle connection is to be ended. The time is
// shortened by up to a fifth, at random, so that clients do not come back at one
// instant.
func (c *conn) idleDueLocked() time.Time {
	if c.since.Before(c.srv.t0) {
		c.since = c.srv.t0
	}
	if c.idleFor == 0 {
		linger := or(c.srv.Linger, DefaultLinger)
		c.idleFor = max(linger-rand.N(linger/5+1), 1)
	}
	due := c.since.Add(c.idleFor)
	if c.srv.Linger >= 0 {
		due = later(due, c.srv.closedAt.Add(minLinger))
	}
	return due
}

// silentDueLocked returns when a connection without a request is to be ended. In
// TLS the bytes of the handshake are no request; the wait starts afresh with each
// look that finds new ones.
func (c *conn) silentDueLocked() time.Time {
	silent := or(c.srv.Silent, DefaultSilent)
	if c.seen == 0 {
		return c.accepted.Add(silent)
	}
	return c.seenAt.Add(silent)
}
