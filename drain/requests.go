// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
)

// begin notes that a handler starts on r.
func (c *conn) begin(r *http.Request) (id uint32) {
	var start int64
	if c.srv.in() != serving {
		start = c.srv.clock()
	}
	c.mu.Lock()
	id = c.nextIDLocked()
	if r.ProtoMajor == 2 {
		c.isHTTP2Locked(nil)
		c.http2.streams[id] = stream{request: request{start, r.Method, pathOf(r)}}
	} else {
		c.request = request{start, r.Method, pathOf(r)}
		c.h1 = true
	}
	c.mu.Unlock()
	return id
}

// nextIDLocked numbers a request. The numbers begin again where done has no bits
// for more.
func (c *conn) nextIDLocked() uint32 {
	if c.lastID++; c.lastID == begun>>32 {
		c.lastID = 1
	}
	return c.lastID
}

// maxPath bounds what is remembered of a request's line. It is a part of the line,
// and so keeps all of it in memory for as long as the connection is idle.
const maxPath = 256

// pathOf returns the path of a request, or its beginning.
func pathOf(r *http.Request) string {
	if len(r.RequestURI) <= maxPath && len(r.URL.Path) <= maxPath {
		return r.URL.Path
	}
	return strings.Clone(r.URL.Path[:min(len(r.URL.Path), maxPath)])
}

// end notes that the handler of request id has returned. In HTTP/1 that is said
// by what net/http does next with the connection, unless it was hijacked.
func (c *conn) end(r *http.Request, id uint32) {
	if r.ProtoMajor == 2 || c.is(hijacked) {
		c.endStream(id)
	}
}

// endStream notes that the handler of a stream, a call or a hijacked connection has
// returned.
func (c *conn) endStream(id uint32) {
	c.mu.Lock()
	if h := c.http2; h != nil {
		delete(h.streams, id)
		h.idle = h.idle || c.is(ofGRPC) && len(h.streams) == 0
	} else {
		c.done.Store(uint64(id) << 32)
	}
	gone := c.goneLocked()
	c.mu.Unlock()
	switch {
	case gone:
		c.srv.remove(c)
	case c.srv.in() != serving:
		c.srv.wake() // it may have been the last on a connection that is idle already
	}
}

// tell notes that an answer says "Connection: close", or that it does not after all.
func (c *conn) tell(told bool) {
	if told {
		c.srv.counters.told.Add(1)
	} else {
		c.srv.counters.told.Add(-1)
	}
	c.mu.Lock()
	c.told = told
	c.mu.Unlock()
}

// idle notes that c waits for its next request.
func (c *conn) idle(nc net.Conn) {
	draining := c.srv.in() != serving
	if draining || !c.h1 {
		c.idleSlowly(nc)
	}
	if c.h1 {
		c.done.Store(uint64(c.lastID)<<32 | uint64(c.reads.Load()))
	}
	// Not draining alone: Drain may have come and looked since.
	if draining || c.srv.in() != serving {
		c.srv.wake()
	}
}

// active notes that c brings a request. In HTTP/1 it has been read, and net/http is
// about to watch for the end of the connection while the handler runs: from now on
// the drain must not ask for it, see sweepDelay for one that is on its way to begin
// when Drain is called. In HTTP/2 a handler may begin when its stream is over and
// net/http has called c idle again.
func (c *conn) active() {
	if c.srv.in() != serving {
		c.done.Or(begun)
		if c.is(expiring) {
			c.revive()
		}
	}
	if c.h1 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http2 != nil {
		c.http2.idle = false
	}
}

// idleSlowly notes the rest of it, where there is more to note.
func (c *conn) idleSlowly(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.h1:
	case c.http2 != nil || negotiatedHTTP2(nc):
		c.isHTTP2Locked(nil)
		c.http2.idle = true
	default: // net/http has answered "OPTIONS *" itself
		c.h1 = true
		c.set(traffic)
		c.nextIDLocked()
	}
	if c.srv.in() != serving {
		c.since, c.half = c.srv.clock(), 0
	}
}

// negotiatedHTTP2 reports whether HTTP/2 is spoken on a connection of net/http's that
// wrapHTTP2 has left to it.
func negotiatedHTTP2(nc net.Conn) bool {
	t, ok := nc.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}
