// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"io"
	"net"
	"testing"

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
	srv := new(Server)
	srv.setup()
	return srv.track(nc, false), client
}

func (c *conn) expire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expireLocked(c.mark())
}

// TestRequestThatCrossesTheExpiryIsRead is the race that closing an idle
// connection from outside would lose: the bytes are in the kernel, and nobody
// has read them.
func TestRequestThatCrossesTheExpiryIsRead(t *testing.T) {
	c, client := pair(t)
	require.True(t, c.expire())
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
	assert.False(t, c.expire(), "bytes have come in since the mark")
}

func TestExpiryWithoutBytesEndsTheStream(t *testing.T) {
	c, _ := pair(t)
	require.True(t, c.expire())
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
