// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clientPreface is how HTTP/2 begins (RFC 9113, section 3.4).
	clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// prefaceWait is for how long net/http waits for it.
	prefaceWait = 10 * time.Second

	// unencryptedProto is the key of HTTP.TLSNextProto under which net/http and
	// golang.org/x/net/http2 have the function that serves HTTP/2 on a connection
	// of any type, inside a tls.Conn that is none.
	unencryptedProto = "unencrypted_http2"
)

// farewell tells an HTTP/2 client to go, without refusing a stream: a GOAWAY whose
// last stream is the highest there can be (RFC 9113, section 6.8), and a PING. Once
// the PING has come back the client has read the GOAWAY, and what it had sent before
// is here.
const farewell = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00" +
	"\x00\x00\x08\x06\x00\x00\x00\x00\x00lameduck"

var farewellPing = [8]byte([]byte(farewell[len(farewell)-8:]))

// An http2 is what is known of a connection that speaks HTTP/2. It is guarded by
// the connection's mu.
type http2 struct {
	conn    *http2Conn        // nil: it can be told to go in one step only
	idle    bool              // net/http says that no stream is open
	streams map[uint32]stream // those whose handler runs
	settled bool              // when it is told to go
	timer   *time.Timer       // until it is told, and then until it has had its time; nil: neither
	waits   int               // how often its time has been over, and given once more
	reads   uint32            // the connection's, when it was last given time
	unsent  int               // what its kernel had not taken by then
	since   time.Time         // that moment; zero: not given time, or it has confirmed
	written bool              // the farewell is
	over    bool              // it knows that it is to go, or has had its time
}

// A stream is a request, or a call of GRPC, whose context cancel cancels.
type stream struct {
	request
	cancel context.CancelCauseFunc
}

// goneLocked reports whether the client opens no new stream, as far as can be known:
// then, and no earlier, net/http's own GOAWAY refuses none.
func (h *http2) goneLocked() bool { return h.conn == nil || h.over }

// An http2Conn is a connection on which net/http or GRPC serves HTTP/2. It follows the
// frames in both directions, so that the farewell gets in between two of them.
type http2Conn struct {
	net.Conn // the connection itself, or its TLS
	conn     *conn
	preface  int    // bytes that are to come of clientPreface, which net/http reads before
	greeting bool   // the client's settings are still to come, of GRPC
	in       frames // by the one goroutine that reads

	half atomic.Bool // the client has sent half a frame, or half of a request's header
	due  atomic.Bool // the farewell is to be written
	said atomic.Bool // it has been, or is just being
	mu   sync.Mutex  // guards what follows and is held while writing
	out  frames
}

// Write writes p, and the farewell at the first right moment if that is due. A busy
// net/http flushes a full buffer, and the end of that is hardly ever the end of a
// frame.
func (h *http2Conn) Write(p []byte) (n int, err error) {
	n, err = h.writeAll(p)
	if h.due.Load() {
		h.say()
	}
	return n, err
}

func (h *http2Conn) writeAll(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock() // even if the connection panics
	if h.due.Load() {
		if to, ok := h.out.toBoundary(p); ok {
			if to > 0 {
				n, err = h.write(p[:to])
			}
			h.sayLocked()
		}
	}
	if err == nil {
		var more int
		more, err = h.write(p[n:])
		n += more
	}
	return n, err
}

func (h *http2Conn) write(p []byte) (n int, err error) {
	n, err = h.Conn.Write(p)
	h.out.follow(p[:n])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // net/http may go on after a deadline
		h.out.lost = true
	}
	return n, err
}

// say writes the farewell if it is due and the moment is right. If another goroutine
// writes, it will call say; if not, the next one that does.
func (h *http2Conn) say() {
	if h.mu.TryLock() {
		defer h.mu.Unlock()
		h.sayLocked()
	}
}

func (h *http2Conn) sayLocked() {
	if h.out.goAway || h.out.lost { // net/http's own may be followed by none that says less
		if h.due.Swap(false) {
			h.conn.srv.counters.goAwayOnce.Add(1)
			h.conn.goAwayOver()
		}
		return
	}
	if !h.out.boundary() || !h.due.Swap(false) {
		return
	}
	h.said.Store(true)
	h.conn.srv.counters.goAway.Add(1)
	if n, err := io.WriteString(h.Conn, farewell); err != nil {
		h.conn.srv.counters.goAway.Add(-1)
		h.out.lost = true
		if n > 0 { // half a frame is in the way of whatever net/http writes next
			h.Conn.Close()
		}
	}
	h.conn.goAwaySaid()
}

// Read looks for the answer to the farewell.
func (h *http2Conn) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.in.acked = false
	h.in.follow(h.afterPreface(p[:n]))
	if h.greeting && h.in.ended {
		h.greeting = false
		h.conn.speaksHTTP2(h)
	}
	if half := h.in.half(); half != h.half.Load() {
		h.half.Store(half)
	}
	if h.in.acked && h.said.Load() {
		h.conn.goAwayOver()
	}
	return n, err
}

// NetConn returns the connection inside.
func (h *http2Conn) NetConn() net.Conn { return h.Conn }

// afterPreface returns what of the next bytes comes after the client's preface.
func (h *http2Conn) afterPreface(p []byte) []byte {
	if h.preface == 0 {
		return p
	}
	want := clientPreface[len(clientPreface)-h.preface:]
	n := min(len(p), len(want))
	switch {
	case string(p[:n]) != want[:n]:
		h.preface, h.in.lost = 0, true
		h.conn.encrypted()
	case n == len(want):
		h.preface, h.greeting = 0, true
	default:
		h.preface -= n
	}
	return p[n:]
}

// A tlsHTTP2Conn also has the method from which net/http has Request.TLS, and by
// which it refuses what HTTP/2 forbids.
type tlsHTTP2Conn struct{ http2Conn }

func (h *tlsHTTP2Conn) ConnectionState() tls.ConnectionState {
	return h.Conn.(*tls.Conn).ConnectionState()
}

// An unencrypted is how net/http is given a connection under unencryptedProto.
type unencrypted struct{ net.Conn }

func (u unencrypted) UnencryptedNetConn() net.Conn { return u.Conn }

// wrapHTTP2 puts http2Conns between net/http and the connections that speak HTTP/2:
// net/http finds the functions to serve them in a field, and may have its own
// there. If there is none for any type of connection, all stays as it is.
func (s *Server) wrapHTTP2() {
	serve := s.HTTP.TLSNextProto[unencryptedProto]
	if serve == nil {
		return
	}
	protos := maps.Clone(s.HTTP.TLSNextProto) // it may be the caller's, and another server's
	s.HTTP.TLSNextProto = protos
	protos[unencryptedProto] = func(srv *http.Server, t *tls.Conn, h http.Handler) {
		nc, ok := t.NetConn().(interface{ UnencryptedNetConn() net.Conn })
		if !ok {
			serve(srv, t, h)
			return
		}
		c, ok := nc.UnencryptedNetConn().(*conn)
		if !ok {
			serve(srv, t, h)
			return
		}
		h2 := &http2Conn{Conn: c, conn: c}
		c.speaksHTTP2(h2)
		serve(srv, tls.Client(unencrypted{h2}, nil), h)
	}
	encrypted := protos["h2"]
	if encrypted == nil {
		return
	}
	protos["h2"] = func(srv *http.Server, t *tls.Conn, h http.Handler) {
		c := tracked(t)
		if c == nil {
			encrypted(srv, t, h)
			return
		}
		if !readPreface(t) { // it is not read under unencryptedProto
			return
		}
		h2 := &tlsHTTP2Conn{http2Conn{Conn: t, conn: c}}
		c.speaksHTTP2(&h2.http2Conn)
		serve(srv, tls.Client(unencrypted{h2}, nil), h)
	}
}

// readPreface reads the client's preface, and reports whether it is one.
func readPreface(t *tls.Conn) bool {
	t.SetReadDeadline(time.Now().Add(prefaceWait))
	defer t.SetReadDeadline(time.Time{})
	got := make([]byte, len(clientPreface))
	_, err := io.ReadFull(t, got)
	return err == nil && string(got) == clientPreface
}

// speaksHTTP2 notes that HTTP/2 is about to be served on c, through h.
func (c *conn) speaksHTTP2(h *http2Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.srv.has(twoSteps) {
		h = nil
	}
	c.isHTTP2Locked(h)
}

// isHTTP2Locked notes that c speaks HTTP/2.
func (c *conn) isHTTP2Locked(h *http2Conn) {
	if c.http2 != nil {
		return
	}
	c.http2 = &http2{conn: h, streams: map[uint32]stream{}, idle: c.is(ofGRPC)}
	c.srv.http2.Add(1)
	if c.srv.in() >= lingering {
		c.goAwayLocked(c.srv.newcomersSpread() / 2)
	}
}
