// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
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
	h.mu.Lock()
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
	h.mu.Unlock()
	if h.due.Load() {
		h.say()
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
		h.sayLocked()
		h.mu.Unlock()
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
	h.conn.say() // not under mu: it waits for a client that does not read
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
	h.reads, h.unsent, h.since = c.reads.Load(), sock.Unsent(c.Conn), time.Now()
}

// goAwayLate is called when an HTTP/2 client has not confirmed in time that it was
// told. While it has answers to read, the farewell may be behind them, and these may
// all be in its own kernel: a client that sends has not gone, and has not read it. One
// that has no stream and shows no sign of life is no more waited for; and where the
// farewell could not be written net/http's own could not be either.
func (c *conn) goAwayLate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.http2
	if h.over || c.closed {
		return
	}
	if h.waits < goAwayWaits && c.readsOnLocked() || h.waits < halfWaits && h.conn.half.Load() {
		h.waits++
		c.giveTimeLocked()
		h.timer.Reset(goAwayWait)
		return
	}
	if !h.written && h.idle && len(h.streams) == 0 && !c.is(ofGRPC) { // whose writer may have more to write
		c.srv.counters.idle.Add(1)
		c.Conn.Close()
	}
	c.goAwayOverLocked()
}

// readsOnLocked reports whether an HTTP/2 client may be reading what is in front of the
// farewell.
func (c *conn) readsOnLocked() bool {
	h := c.http2
	return !h.idle || len(h.streams) > 0 || c.reads.Load() != h.reads || sock.Unsent(c.Conn) < h.unsent
}

// aside is more than what an HTTP/2 client is sent to be told to go.
const aside = 256

// untakenLocked reports whether an HTTP/2 client has not taken all of its answers, though
// their handlers have returned: net/http has some of it, or the kernel.
func (c *conn) untakenLocked() bool {
	h := c.http2
	return !c.closed && len(h.streams) == 0 && (!h.idle && !c.leaving || sock.Unsent(c.Conn) > aside)
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
