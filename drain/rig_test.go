// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// A rig is a server in a bubble, on a network in memory.
type rig struct {
	t      *testing.T
	srv    *drain.Server
	l      *memnet.Listener
	served chan error
}

func start(t *testing.T, srv *drain.Server, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, l: memnet.Listen(), served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h}
	go func() { r.served <- srv.Serve(r.l) }()
	synctest.Wait()
	return r
}

// serveOn is start for any listener, in a bubble or out of it: where a bubble cannot
// show a fault, as with resets, the sockets are real, and the times are bounds instead
// of instants.
func serveOn(t *testing.T, srv *drain.Server, l net.Listener, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { r.served <- srv.Serve(l) }()
	return r
}

// startMuted is start for handlers that panic, without the noise.
func startMuted(t *testing.T, srv *drain.Server, h http.HandlerFunc) *rig {
	t.Helper()
	l := memnet.Listen()
	r := serveOn(t, srv, l, h)
	r.l = l
	synctest.Wait()
	return r
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := drain.Listen(t.Context(), network, address)
	require.NoError(t, err)
	return l
}

// drain drains the server in d, and checks that Serve has returned.
func (r *rig) drain(d time.Duration) (drain.Report, time.Duration, error) {
	r.t.Helper()
	t0 := time.Now()
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	report, err := r.srv.Drain(ctx)
	took := time.Since(t0)
	assert.Equal(r.t, http.ErrServerClosed, <-r.served)
	return report, took, err
}

// nothingOpen checks that the server has no connection left.
func (r *rig) nothingOpen() {
	r.t.Helper()
	assert.Equal(r.t, drain.Stats{}, r.srv.Stats())
}

// A client is one connection of one client.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := r.l.Dial(r.t.Context())
	require.NoError(r.t, err)
	return &client{r.t, nc, bufio.NewReader(nc)}
}

func dialAddr(t *testing.T, a net.Addr) *client {
	t.Helper()
	nc, err := net.Dial(a.Network(), a.String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
}

// send sends a request and does not wait for its answer.
func (c *client) send(path string) {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
	require.NoError(c.t, err)
}

// get sends a request and returns its answer, whose body it has read.
func (c *client) get(path string) *http.Response {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
	require.NoError(c.t, err)
	return c.answer()
}

func (c *client) answer() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	require.NoError(c.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(c.t, err)
	return resp
}

// waitClosed returns how long after t0 the server closes the connection.
func (c *client) waitClosed(t0 time.Time) time.Duration {
	c.t.Helper()
	_, err := c.br.ReadByte()
	require.ErrorIs(c.t, err, io.EOF)
	return time.Since(t0)
}

// discard reads what comes until the connection ends. A pipe has no buffer, so
// somebody must.
func (c *client) discard() { go io.Copy(io.Discard, c) }

func ok(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }
