// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair returns a tracked connection on a real socket, and its client's end.
func pair(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	nc, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(); nc.Close() })
	srv := &Server{patience: time.Minute} // as if it drained
	srv.setup()
	return srv.track(nc, false), client
}

func (c *conn) ask() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expireLocked(c.mark())
}

// TestRequestThatCrossesTheExpiryIsRead is the race that closing an idle
// connection from outside would lose: the bytes are in the kernel, and nobody
// has read them.
func TestRequestThatCrossesTheExpiryIsRead(t *testing.T) {
	c, client := pair(t)
	require.True(t, c.ask())
	_, err := client.Write([]byte("request"))
	require.NoError(t, err)
	got := make([]byte, 16)
	n, err := c.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "request", string(got[:n]))

	// It lives on as before, without the deadline.
	_, err = client.Write([]byte("more"))
	require.NoError(t, err)
	n, err = c.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "more", string(got[:n]))
	assert.False(t, c.ask(), "bytes have come in since the mark")
}

func TestExpiryWithoutBytesEndsTheStream(t *testing.T) {
	c, _ := pair(t)
	require.True(t, c.ask())
	_, err := c.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	assert.EqualValues(t, 1, c.srv.counters.silent.Load())
}

// TestConnKeepsTheFastPaths: net/http asks its connection for these.
func TestConnKeepsTheFastPaths(t *testing.T) {
	c, client := pair(t)
	assert.Implements(t, (*io.ReaderFrom)(nil), c)
	n, err := c.ReadFrom(io.LimitReader(client, 0))
	require.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, c.CloseWrite())
	_, err = client.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
	assert.IsType(t, (*net.TCPConn)(nil), c.NetConn())
}

// TestExpiryGivesTheDeadlineBack: net/http has set it for the rest of the header,
// or a handler for the body.
func TestExpiryGivesTheDeadlineBack(t *testing.T) {
	c, client := pair(t)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	require.True(t, c.ask())
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)), "meanwhile")
	_, err := client.Write([]byte("half a request"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 64))
	require.NoError(t, err, "the drain's own deadline is not net/http's to see")
	_, err = c.Read(make([]byte, 64))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "and net/http's is back")
	assert.Zero(t, c.srv.counters.silent.Load()+c.srv.counters.unfinished.Load())
}

// TestExpiryWithoutASocketInReach is what the wrappers of other libraries are like:
// nobody can look into the kernel through them.
func TestExpiryWithoutASocketInReach(t *testing.T) {
	c, client := pair(t)
	c.Conn = struct{ net.Conn }{c.Conn}
	require.True(t, c.ask())
	_, err := client.Write([]byte("request"))
	require.NoError(t, err)
	got := make([]byte, 16)
	n, err := c.Read(got)
	require.NoError(t, err)
	assert.Equal(t, "request", string(got[:n]))

	c.reads.Store(0)
	require.True(t, c.ask())
	_, err = c.Read(got)
	assert.Equal(t, io.EOF, err)
}

// TestRequestThatHasBegunIsNotExpired: it was in the buffer of net/http already, as
// a pipelined one is, and net/http now reads to learn of the client's end.
func TestRequestThatHasBegunIsNotExpired(t *testing.T) {
	c, client := pair(t)
	c.srv.enter(window)
	require.True(t, c.ask())
	c.active()
	require.False(t, c.ask())
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	require.NoError(t, client.Close())
	assert.Equal(t, io.EOF, <-read)
	assert.Zero(t, c.srv.counters.silent.Load()+c.srv.counters.idle.Load(), "it was the client who went")
}

func TestRequestNumbersBeginAgain(t *testing.T) {
	var c conn
	c.lastID = begun>>32 - 1
	assert.EqualValues(t, 1, c.nextIDLocked())
}

func TestLongPathsAreNotKept(t *testing.T) {
	path := "/" + strings.Repeat("x", 1000)
	r := httptest.NewRequest("GET", path+"?"+path, nil)
	assert.Equal(t, path[:maxPath], pathOf(r))
	r = httptest.NewRequest("GET", "/short", nil)
	assert.Equal(t, "/short", pathOf(r))
}
