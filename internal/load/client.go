// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
)

const (
	dialTimeout    = 3 * time.Second // these two are what a patience is given
	requestTimeout = 10 * time.Second
	// lossPause keeps a client from spinning while everything is refused, and
	// so from inflating the count.
	lossPause = 5 * time.Millisecond
)

// A Client is one client. It never retries, and has one connection at most: with
// HTTP/2 beside those that take no more requests and have some to answer.
type Client struct {
	Kind   Kind
	Path   string
	Dial   func(context.Context) (net.Conn, error)
	Record func(Result)  // called once for each request, one at a time, until Run returns
	Spread time.Duration // the first request is sent after a random part of it

	timeout   time.Duration // of a request; zero: requestTimeout
	recording sync.Mutex    // held while Record runs

	// The connection of HTTP/1.1.
	conn   net.Conn // nil: none
	br     *bufio.Reader
	reused bool
}

// Run sends requests until ctx is done, the first one within Spread and not after
// a think time, so that slow clients have a connection early. It finishes what it
// has begun: the end of ctx aborts no request.
func (c *Client) Run(ctx context.Context) {
	if c.timeout == 0 {
		c.timeout = requestTimeout
	}
	if c.Kind.Proto != "" {
		c.runHTTP2(ctx)
		return
	}
	defer c.drop()
	c.repeat(ctx, c.send)
}

// repeat sends one request after the other.
func (c *Client) repeat(ctx context.Context, send func(context.Context, *Result)) {
	think(ctx, 0, c.Spread)
	for ctx.Err() == nil {
		r := Result{Kind: c.Kind, ID: rand.Uint64(), Start: time.Now()}
		send(context.WithoutCancel(ctx), &r)
		r.Latency = time.Since(r.Start)
		c.record(r)
		if r.Cause != OK {
			think(ctx, lossPause/2, lossPause*3/2)
		}
		think(ctx, c.Kind.MinThink, c.Kind.MaxThink)
	}
}

func (c *Client) record(r Result) {
	c.recording.Lock()
	defer c.recording.Unlock()
	c.Record(r)
}

// think waits for a time from shortest to longest, or until ctx is done.
func think(ctx context.Context, shortest, longest time.Duration) {
	if longest <= 0 {
		return
	}
	timer := time.NewTimer(shortest + rand.N(longest-shortest+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// send sends one request, on a new connection if it needs one.
func (c *Client) send(ctx context.Context, r *Result) {
	// The last look before the first byte: a connection that has been closed by
	// now is no loss. Nor is one that holds bytes nobody has asked for.
	if c.conn != nil && (c.br.Buffered() > 0 || sock.Peek(c.conn) != sock.Empty) {
		c.drop()
	}
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			r.Cause, r.Err = classify(err, false), err
			return
		}
	}
	r.Local, r.Reused = c.conn.LocalAddr().String(), c.reused
	c.reused = true
	conn := c.conn
	p := lose(c.timeout, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer p.stop()
	if _, err := c.conn.Write(c.request(r.ID)); err != nil {
		r.Cause, r.Err = classify(err, false), fmt.Errorf("write: %w", err)
		c.drop()
		return
	}
	keep := c.receive(r)
	if !p.stop() || !keep || c.Kind.NewConn {
		c.drop()
	}
}

func (c *Client) dial(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := lose(dialTimeout, cancel)
	conn, err := c.Dial(ctx)
	if err = p.judge(err); err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	c.conn, c.br, c.reused = conn, bufio.NewReader(conn), false
	return nil
}

func (c *Client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// request returns the bytes of a request. A body is the id, too.
func (c *Client) request(id uint64) []byte {
	connection := "keep-alive"
	if c.Kind.NewConn {
		connection = "close"
	}
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nConnection: %s\r\nRequest-Id: %016x\r\n",
		c.Kind.method(), c.Path, connection, id)
	if !c.Kind.hasBody() {
		return append(b, "\r\n"...)
	}
	body := fmt.Sprintf("%016x", id)
	return fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
}

// receive reads the answer, and reports whether the connection may be kept.
func (c *Client) receive(r *Result) (keep bool) {
	if _, err := c.br.Peek(1); err != nil {
		r.Cause, r.Err = classify(err, false), fmt.Errorf("read: %w", err)
		return false
	}
	resp, err := c.response()
	if err == nil {
		r.Status, r.Server = resp.StatusCode, resp.Header.Get("Server-Id")
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err != nil {
		r.Cause, r.Err = classify(err, true), fmt.Errorf("answer: %w", err)
		return false
	}
	if resp.StatusCode/100 != 2 {
		r.Cause, r.Err = Status, fmt.Errorf("answer: %s", resp.Status)
	}
	return !resp.Close
}

// response reads the head of the answer, past those that only announce it.
func (c *Client) response() (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.br, &http.Request{Method: c.Kind.method()})
		if err != nil || resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}
