// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
)

// lookWait is for how long a connection is read once more that cannot say whether
// bytes wait. It has to be longer than a goroutine may be kept from running between
// two calls: a read whose deadline has passed does not look.
const lookWait = 5 * time.Millisecond

// A connState is what a connection is doing, as far as a drain must know.
type connState uint8

const (
	stateNew    connState = iota // no request has been read yet
	stateActive                  // a request is being served
	stateIdle                    // kept alive, between two requests
	stateHijacked
	stateClosed // or about to be
)

// A conn is an accepted connection and what is known of it. It ends, for the
// server, when it is closed and no handler runs on it any more.
//
// Two things keep the path of a request short. Nothing here reads the clock while
// the server is not draining, but once for the accept: an idle connection's time
// counts from T0 at the earliest anyway. And in HTTP/1.1 net/http's goroutine for
// the connection is the only one that begins and ends requests, so the end of one
// is a single atomic store. The times are readings of the server's clock.
type conn struct {
	net.Conn
	srv        *Server
	ctx        context.Context // what connContext adds c to
	next, prev *conn           // in the server's list; guarded by its mu
	accepted   int64

	reads    atomic.Uint32 // how often bytes have come in
	flags    atomic.Uint32 // see flag
	done     atomic.Uint64 // HTTP/1: the last request that is over, reads when it was, and begun
	deadline atomic.Int64  // of reading, by the clock, as net/http wants it; 0: none

	mu      sync.Mutex // guards what follows; nothing is called under it but the socket
	tls     bool       // TLS is spoken over it; of GRPC that is seen by what comes in
	h1      bool       // it has fallen idle or brought a request; HTTP/1's goroutine only
	leaving bool       // the last answer is sent, the close under way
	closed  bool       // nothing will come any more
	gone    bool       // the server has forgotten it
	expired bool       // it was ended because it was idle, silent or too slow
	told    bool       // an answer has said "Connection: close"
	lastID  uint32     // of a request; HTTP/1's goroutine also reads it without mu
	seen    uint32     // reads when the drain last looked
	half    uint32     // when it first saw bytes of what is not complete, in ms since T0 and 1; 0: none
	seenAt  int64      // when seen last changed; 0: not looked yet
	since   int64      // when it fell idle while draining; 0: before T0
	request request    // HTTP/1: the one numbered lastID
	http2   *http2     // nil unless HTTP/2 is spoken
	notice  *notice    // nil until a handler asks for it
}

// A flag says something about a connection that its goroutines tell each other
// without a lock.
type flag uint32

const (
	expiring flag = 1 << iota // the drain asks Read to end the connection; set under mu
	looking                   // Read looks once more before it does; set under mu
	traffic                   // it has brought a request that is not a probe
	hijacked                  // a handler has taken it over
	ofGRPC                    // a gRPC server serves it; does not change
	shut                      // Close of what was accepted has been called, while draining
	broken                    // SetReadDeadline has panicked, or has not returned
)

func (c *conn) is(f flag) bool { return c.flags.Load()&uint32(f) != 0 }

// set sets a flag and reports whether it was set.
func (c *conn) set(f flag) bool { return c.flags.Or(uint32(f))&uint32(f) != 0 }

// unset takes a flag back and reports whether it was set.
func (c *conn) unset(f flag) bool { return c.flags.And(^uint32(f))&uint32(f) != 0 }

// begun is the bit of done that says that a request has been read since.
const begun = 1 << 63

// A request is one that a handler is serving.
type request struct {
	start        int64 // 0: before T0
	method, path string
}

// stateLocked returns what c is doing.
func (c *conn) stateLocked() connState {
	switch {
	case c.closed || c.leaving:
		return stateClosed
	case c.is(hijacked):
		return stateHijacked
	case c.http2 != nil && c.http2.idle, c.lastID != 0 && c.doneID() == c.lastID:
		return stateIdle
	case c.lastID == 0 && c.done.Load() == 0:
		return stateNew
	}
	return stateActive
}

// doneID returns the last request that is over, or one that there is none of if
// another has been read.
func (c *conn) doneID() uint32 { return uint32(c.done.Load() >> 32) }

// mark returns reads when c fell idle.
func (c *conn) mark() uint32 { return uint32(c.done.Load()) }

// runningLocked returns the requests whose handler has not returned.
func (c *conn) runningLocked() []request {
	switch {
	case c.http2 != nil:
		var running []request
		for _, s := range c.http2.streams {
			running = append(running, s.request)
		}
		return running
	case c.lastID == uint32(c.done.Load()&^begun>>32), (c.closed || c.leaving) && !c.is(hijacked):
		return nil
	}
	return []request{c.request}
}

// A connContext is a connection as a context: the one that requests have through
// which the handlers find their connection. It is no struct of its own, since
// there is one for each connection.
type connContext conn

// connKey is the key of a request's *conn in its context.
type connKey struct{}

func (c *connContext) Deadline() (time.Time, bool) { return c.ctx.Deadline() }
func (c *connContext) Done() <-chan struct{}       { return c.ctx.Done() }
func (c *connContext) Err() error                  { return c.ctx.Err() }

func (c *connContext) Value(key any) any {
	if key == (connKey{}) {
		return (*conn)(c)
	}
	return c.ctx.Value(key)
}

// connOf returns the connection of a request's context, or nil.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
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
			if c.is(expiring) {
				c.revive()
			}
			return n, err
		}
		if err == nil || !c.is(expiring) || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		switch waits := sock.Peek(c.Conn); {
		case waits == sock.Data:
			c.revive()
		case waits == sock.Unknown && !c.is(looking):
			c.look()
		case c.expire():
			return 0, io.EOF
		}
	}
}

// look has Read read once more before it ends a connection of which nobody else
// can say whether bytes wait.
func (c *conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(expiring) {
		c.set(looking)
		c.noted("SetReadDeadline", func() { c.Conn.SetReadDeadline(time.Now().Add(lookWait)) })
	}
}

// SetReadDeadline remembers the deadline, so that revive can set it again, and
// leaves the drain's own one alone.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.deadline.Store(c.srv.reading(t))
	if c.is(expiring) {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// revive puts net/http's own deadline in the place of the one that the drain has
// set.
func (c *conn) revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unset(expiring | looking) {
		return
	}
	for {
		want := c.deadline.Load()
		c.noted("SetReadDeadline", func() { c.Conn.SetReadDeadline(c.srv.deadlineAt(want)) })
		if c.deadline.Load() == want { // a handler may have set another meanwhile
			return
		}
	}
}

// expireLocked asks the goroutine that reads from c to end it, if nothing has
// come in since reads was as given. It asks again when called again, because
// net/http may have been about to set a deadline of its own the first time.
func (c *conn) expireLocked(reads uint32) bool {
	if !c.srv.has(byteCheck) {
		c.expired = true
		c.srv.counters.idle.Add(1)
		c.Conn.Close()
		return true
	}
	if c.is(looking | broken) {
		return true
	}
	// The order matters: Read adds to reads before it looks at expiring, and
	// active to done, so one of the two sides sees the other.
	c.set(expiring)
	if c.reads.Load() != reads || c.done.Load()&begun != 0 {
		c.unset(expiring)
		return false
	}
	c.set(broken)
	returned, hangs := c.briefly("SetReadDeadline", func() {
		c.Conn.SetReadDeadline(time.Unix(1, 0))
		if !c.is(expiring) { // it has hung, and this comes too late
			c.Conn.SetReadDeadline(c.srv.deadlineAt(c.deadline.Load()))
		}
		c.unset(broken)
	})
	if !returned && !hangs {
		c.srv.apart(fmt.Sprintf("the end of the connection %T", c.given()), func() { c.Close() }) // Read cannot be asked
	}
	return true
}

// expire settles that c ends, unless a request has begun on it, and counts it as
// what it was.
func (c *conn) expire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.is(expiring):
		return false
	case c.expired: // net/http reads again
		return true
	case c.unfinishedLocked():
		c.srv.counters.unfinished.Add(1)
	case c.done.Load() != 0:
		c.srv.counters.idle.Add(1)
	default:
		c.srv.counters.silent.Add(1)
	}
	c.expired = true
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
	return nil // net/http closes the connection a little later
}

// NetConn returns the connection as it was accepted. To close that one leaves c
// open in the server's books.
func (c *conn) NetConn() net.Conn { return c.Conn }
