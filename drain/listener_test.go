// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// queued returns a listener on which connections wait that nobody has accepted,
// each with a request in it, and the clients' ends.
func queued(t *testing.T, n int) (net.Listener, []net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	var clients []net.Conn
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)
		clients = append(clients, c)
	}
	return l, clients
}

// TestAcceptQueueIsEmptiedBeforeTheClose shows what a plain close does, and that
// the listener of a drain accepts what waits.
func TestAcceptQueueIsEmptiedBeforeTheClose(t *testing.T) {
	const n = 50
	plain, clients := queued(t, n)
	plain.Close()
	reset := 0
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 1)); assert.ErrorIs(t, err, syscall.ECONNRESET) {
			reset++
		}
	}
	t.Logf("close: %d of %d reset", reset, n)

	srv := new(Server)
	srv.setup()
	inner, clients := queued(t, n)
	l := newListener(srv, inner, false)
	require.True(t, srv.add(l))
	l.startClosing(0)
	for {
		c, err := l.Accept()
		if err != nil {
			require.ErrorIs(t, err, errListenerDrained)
			break
		}
		_, err = c.Write([]byte("answer"))
		require.NoError(t, err)
		c.Close()
		c.(*conn).ended() // as net/http says by its state
	}
	l.finish()
	for _, c := range clients {
		got := make([]byte, len("answer"))
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		assert.Equal(t, "answer", string(got))
	}
	assert.Zero(t, srv.Stats().Open)
	_, err := net.Dial("tcp", inner.Addr().String())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}
