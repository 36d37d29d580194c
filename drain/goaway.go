// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"math/rand/v2"
	"time"
)

const (
	// goAwayWait is how long an HTTP/2 client may take to confirm that it has been
	// told to go. It has to be a round trip.
	goAwayWait = 2 * time.Second
	// goAwayWaits is how often it is given that time again while it shows that it is
	// still reading what is in front: it has streams open, or takes what was sent to
	// it, or sends without confirming.
	goAwayWaits = 5
	// halfWaits is how often, if all it shows is half a frame or half of a request's
	// header, in which no PING can be.
	halfWaits = 2
)

// mayGoAway reports whether an answer on an HTTP/2 connection may make net/http send
// its own GOAWAY, which refuses streams.
func (c *conn) mayGoAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mayGoAwayLocked()
}

func (c *conn) mayGoAwayLocked() bool {
	if c.http2.conn == nil {
		return c.srv.in() >= closing
	}
	return c.http2.over
}

// goAwayLocked has an HTTP/2 client told to go at some instant within a time, if that
// was not settled before.
func (c *conn) goAwayLocked(within time.Duration) {
	h := c.http2
	if h == nil || h.settled || c.closed {
		return
	}
	h.settled = true
	if h.conn == nil {
		c.srv.counters.goAwayOnce.Add(1)
		return
	}
	h.timer = time.AfterFunc(rand.N(max(within, 0)+1), c.goAway)
}

// goAway tells an HTTP/2 client to go. Its time begins here, since one that does not
// read cannot even be told.
func (c *conn) goAway() {
	c.mu.Lock()
	h := c.http2
	if h.over || c.closed {
		c.mu.Unlock()
		return
	}
	c.giveTimeLocked()
	h.timer = time.AfterFunc(goAwayWait, c.goAwayLate)
	c.mu.Unlock()
	h.conn.due.Store(true)
	c.contain("Write", h.conn.say) // not under mu: it waits for a client that does not read
}

// goAwaySaid gives an HTTP/2 client its time afresh, to confirm that it was told.
func (c *conn) goAwaySaid() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.http2; !h.over && !c.closed {
		h.written = true
		c.giveTimeLocked()
		h.timer.Reset(goAwayWait)
	}
}

// giveTimeLocked notes what to compare with when an HTTP/2 client has had its time.
func (c *conn) giveTimeLocked() {
	h := c.http2
	h.reads, h.unsent, h.since = c.reads.Load(), c.unsent(), time.Now()
}

// goAwayLate is called when an HTTP/2 client has not confirmed in time that it was
// told. While it has answers to read, the farewell may be behind them, and these may
// all be in its own kernel: a client that sends has not gone, and has not read it. One
// that has no stream and shows no sign of life is no more waited for; and where the
// farewell could not be written net/http's own could not be either.
func (c *conn) goAwayLate() {
	if c.goneLate() {
		c.closeGiven() // not under mu: it may hang
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.http2.over {
			c.goAwayOverLocked()
		}
	}
}

// goneLate is goAwayLate, but for the close of a connection: it reports whether that is
// to come.
func (c *conn) goneLate() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.http2
	if h.over || c.closed {
		return false
	}
	if time.Since(h.since) > goAwayWait+watchLate { // this process has stood still, and has not read
		c.giveTimeLocked()
		h.timer.Reset(goAwayWait)
		return false
	}
	if h.waits < goAwayWaits && c.readsOnLocked() || h.waits < halfWaits && h.conn.half.Load() {
		h.waits++
		c.giveTimeLocked()
		h.timer.Reset(goAwayWait)
		return false
	}
	if !h.written && h.idle && len(h.streams) == 0 && !c.is(ofGRPC) { // whose writer may have more to write
		c.srv.counters.idle.Add(1)
		return true
	}
	c.goAwayOverLocked()
	return false
}

// readsOnLocked reports whether an HTTP/2 client may be reading what is in front of the
// farewell.
func (c *conn) readsOnLocked() bool {
	h := c.http2
	return !h.idle || len(h.streams) > 0 || c.reads.Load() != h.reads || c.unsent() < h.unsent
}

// aside is more than what an HTTP/2 client is sent to be told to go.
const aside = 256

// untakenLocked reports whether an HTTP/2 client has not taken all of its answers, though
// their handlers have returned: net/http has some of it, or the kernel.
func (c *conn) untakenLocked() bool {
	h := c.http2
	return !c.closed && len(h.streams) == 0 && (!h.idle && !c.leaving || c.unsent() > aside)
}

// goAwayOver notes that an HTTP/2 client knows that it is to go.
func (c *conn) goAwayOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.http2.over { // it may say so again and again
		c.http2.since = time.Time{}
		c.goAwayOverLocked()
	}
}

func (c *conn) goAwayOverLocked() {
	h := c.http2
	h.over = true
	if h.timer != nil {
		h.timer.Stop()
	}
	c.giveNoticeLocked(0)
	c.srv.wake()
}

// endGoAwayLocked is called when c has ended.
func (c *conn) endGoAwayLocked() {
	h := c.http2
	if h == nil {
		return
	}
	if h.timer != nil {
		h.timer.Stop()
	}
	if h.conn != nil && h.conn.due.Swap(false) {
		c.srv.counters.goAwayOnce.Add(1)
	}
}
