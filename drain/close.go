// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

const (
	// stagedWait is for how long a client that was told to go may still send before
	// its connection is closed both ways. It is net/http's own time for the cases in
	// which it does the same.
	stagedWait = 500 * time.Millisecond
	// stalled is for how long a client may take none of what was sent to it before
	// its connection is closed all the same.
	stalled = 3 * time.Second
)

// Close closes the connection. net/http says by StateClosed when it has done with
// it, a little later; of a hijacked one, and with GRPC, this is the last that is heard.
func (c *conn) Close() error {
	c.mu.Lock()
	taken := c.is(hijacked | ofGRPC)
	in := c.srv.in()
	told := c.told || c.http2 != nil && in != serving
	staged := told && !c.is(hijacked) && in < cutting && c.srv.has(stagedClose)
	c.leaving = c.leaving || staged
	var h2 http2
	if c.http2 != nil {
		h2 = *c.http2
	}
	c.mu.Unlock()
	switch {
	case !staged:
	case h2.since.IsZero():
		c.contain("CloseWrite", func() { c.closeStaged(h2.streams != nil, c.unsent(), time.Now()) })
	default: // it has not read so far as to confirm
		c.contain("CloseWrite", func() { c.closeStaged(true, h2.unsent, h2.since) })
	}
	err := c.closeGiven()
	if taken {
		c.ended()
	}
	return err
}

// closeGiven closes what was accepted: once while the server drains, since a second
// Close would hang as the first one does.
func (c *conn) closeGiven() error {
	nc := c.given()
	if c.srv.in() != serving && !plain(nc) && c.set(shut) {
		return net.ErrClosed
	}
	return c.srv.close("connection", nc)
}

// closeStaged ends this side of the connection and reads what the client still
// sends, until it has closed its own (RFC 9112, section 9.6). Closing a socket in
// which bytes wait, those of a pipelined request say, resets it, and a reset
// destroys what is left of the answer before. One that takes its time over a large
// answer sends for longer, as in HTTP/2 that it has room for more; it has it for as
// long as it takes something, of which so many bytes were unsent at a time, or until
// the cut closes the connection. In HTTP/2 all that it has to take may be in its own
// kernel: there it also has it while it sends, if not for ever.
func (c *conn) closeStaged(h2 bool, unsent int, since time.Time) {
	cw, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	sendsUntil := time.Now().Add(goAwayWaits * goAwayWait)
	reads := c.reads.Load()
	for c.srv.in() < cutting {
		now := time.Now()
		c.Conn.SetReadDeadline(now.Add(stagedWait))
		n, err := io.Copy(io.Discard, struct{ io.Reader }{c.Conn})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		before := reads
		reads = c.reads.Load() // net/http may still read, too
		sends := h2 && (n > 0 || reads != before) && now.Before(sendsUntil)
		left := c.unsent()
		if left < unsent || sends {
			unsent, since = left, now
		}
		if left == 0 && !sends || time.Since(since) >= stalled {
			return
		}
	}
}

// ended notes that nothing will come on c any more.
func (c *conn) ended() {
	c.mu.Lock()
	if p := c.srv.in(); c.stateLocked() == stateHijacked && p != serving && p < cutting {
		c.srv.counters.hijacked.Add(1)
	}
	c.closed = true
	gone := c.goneLocked()
	c.endNoticeLocked()
	c.endGoAwayLocked()
	c.mu.Unlock()
	if p, ok := c.Conn.(*peerConn); ok {
		p.forget()
	}
	if gone {
		c.srv.remove(c)
	}
}

// goneLocked reports, once, whether the server is to forget c.
func (c *conn) goneLocked() bool {
	if c.gone || !c.closed || len(c.runningLocked()) > 0 {
		return false
	}
	c.gone = true
	return true
}
