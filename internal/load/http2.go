// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
)

// maxConns is how many connections a request is offered to before it is lost. All
// but the last one were told to go just when they were wanted.
const maxConns = 10

// An http2Client is what the streams of a Client share.
//
// An [http.ClientConn] is one connection: its RoundTrip opens one stream, and
// returns what became of that. To send a request again, or to dial, is for the
// caller, and in net/http for [http.Transport.RoundTrip], which is not called.
type http2Client struct {
	*Client

	mu   sync.Mutex // guards conn, and users of every http2Conn
	conn *http2Conn // takes new requests; nil: none
}

// An http2Conn is a connection, while it is dialled and after.
type http2Conn struct {
	users int           // the requests that have it
	ready chan struct{} // closed when what follows is set
	local string
	err   error // of the dial
	*http.ClientConn
}

func (c *Client) runHTTP2(ctx context.Context) {
	h := &http2Client{Client: c}
	var streams sync.WaitGroup
	for range max(c.Kind.Streams, 1) {
		streams.Go(func() { c.repeat(ctx, h.send) })
	}
	streams.Wait()
	if h.conn != nil {
		h.conn.Close()
	}
}

// send sends one request, on a new connection if there is none that takes it. A
// connection that does not take it has not been sent a byte of it.
func (h *http2Client) send(ctx context.Context, r *Result) {
	for range maxConns {
		conn, dialled := h.acquire(ctx)
		begun := h.sendOn(ctx, conn, dialled, r)
		h.release(conn)
		if begun {
			return
		}
	}
}

// acquire returns the connection that takes new requests, and whether it was
// dialled for this one.
func (h *http2Client) acquire(ctx context.Context) (conn *http2Conn, dialled bool) {
	h.mu.Lock()
	conn = h.conn
	if dialled = conn == nil; dialled {
		conn = &http2Conn{ready: make(chan struct{})}
		if !h.Kind.NewConn {
			h.conn = conn
		}
	}
	conn.users++
	h.mu.Unlock()
	if dialled {
		h.dial(ctx, conn)
	}
	<-conn.ready
	return conn, dialled
}

// release gives a connection back. The last request of one that takes no more
// closes it.
func (h *http2Client) release(conn *http2Conn) {
	h.mu.Lock()
	conn.users--
	over := conn.users == 0 && conn != h.conn
	h.mu.Unlock()
	if over && conn.err == nil {
		conn.Close()
	}
}

// retire makes the next request dial.
func (h *http2Client) retire(conn *http2Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == conn {
		h.conn = nil
	}
}

func (h *http2Client) dial(ctx context.Context, conn *http2Conn) {
	defer close(conn.ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := lose(dialTimeout, cancel)
	// A transport of its own: it dials once, pools nothing and sends nothing.
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := h.Dial(ctx)
			if err == nil {
				conn.local = c.LocalAddr().String()
			}
			return c, err
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // whose server it is, is not what is tested
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetHTTP2(h.Kind.Proto == "h2")
	t.Protocols.SetUnencryptedHTTP2(h.Kind.Proto == "h2c")
	conn.ClientConn, conn.err = t.NewClientConn(ctx, h.scheme(), "localhost:0")
	if conn.err = p.judge(conn.err); conn.err != nil {
		conn.err = fmt.Errorf("dial: %w", conn.err)
		h.retire(conn)
	}
}

func (h *http2Client) scheme() string {
	if h.Kind.Proto == "h2c" {
		return "http"
	}
	return "https"
}

// sendOn sends one request on conn, and reports whether it has begun: then it is
// answered or lost. It has not begun if conn does not take it, having been told to
// go or having ended, and not a byte of the header was written. A connection that
// was dialled for the request and has ended before it is as good as refused.
func (h *http2Client) sendOn(ctx context.Context, conn *http2Conn, dialled bool, r *Result) (begun bool) {
	r.Local, r.Reused = conn.local, !dialled && conn.err == nil
	if conn.err != nil {
		r.Cause, r.Err = classify(conn.err, false), conn.err
		return true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer lose(h.timeout, cancel).stop()
	var written atomic.Bool // the header, or a part of it
	req, body := h.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }}), r.ID)
	resp, err := conn.RoundTrip(req)
	if err != nil {
		r.Cause, r.Err = classify(err, false), err
	} else {
		r.Cause, r.Err = receiveHTTP2(resp, body)
		r.Status, r.Server = resp.StatusCode, resp.Header.Get("Server-Id")
	}
	if r.Err != nil && ctx.Err() != nil {
		r.Cause = Timeout
	}
	if body != nil {
		select {
		case <-body.closed: // so nobody reads it any more
		case <-ctx.Done():
		}
	}
	// Until its time is over, RoundTrip returns an error only when the writer is done.
	refused := err != nil && !written.Load() && ctx.Err() == nil
	if refused || r.Cause == Timeout {
		h.retire(conn)
	}
	return !refused || dialled && conn.Err() != nil
}

// request returns a request and its body, which is nil if it has none. Without a
// GetBody nobody can send it again.
func (h *http2Client) request(ctx context.Context, id uint64) (*http.Request, *body) {
	req := (&http.Request{
		Method: h.Kind.method(),
		URL:    &url.URL{Scheme: h.scheme(), Host: "localhost", Opaque: h.Path},
		Header: http.Header{"User-Agent": {"load"}, "Request-Id": {fmt.Sprintf("%016x", id)}},
	}).WithContext(ctx)
	if !h.Kind.hasBody() {
		return req, nil
	}
	b := newBody(id, h.Kind.Streaming)
	req.Body, req.ContentLength = b, b.announced()
	return req, b
}

// receiveHTTP2 reads the answer, while the body may still be written.
func receiveHTTP2(resp *http.Response, body *body) (Cause, error) {
	defer resp.Body.Close()
	var answer io.Writer = io.Discard
	if body != nil {
		answer = body
	}
	_, err := io.Copy(answer, resp.Body)
	switch {
	case err != nil:
		return classify(err, true), fmt.Errorf("answer: %w", err)
	case resp.ProtoMajor != 2:
		return Other, fmt.Errorf("answer: %s", resp.Proto)
	case resp.StatusCode/100 != 2:
		return Status, fmt.Errorf("answer: %s", resp.Status)
	case body != nil && body.cut():
		return Truncated, errors.New("answer: an echo of a part of the body")
	}
	return OK, nil
}
