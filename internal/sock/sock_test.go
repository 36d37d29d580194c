// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package sock_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPeek(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()

	assert.Equal(t, sock.Empty, sock.Peek(server), "before anything was sent")

	// On loopback the bytes are in the peer's socket when Write returns.
	_, err = client.Write([]byte("x"))
	require.NoError(t, err)
	assert.Equal(t, sock.Data, sock.Peek(server))
	assert.Equal(t, sock.Data, sock.Peek(server), "peeking does not read")

	_, err = io.ReadFull(server, make([]byte, 1))
	require.NoError(t, err)
	assert.Equal(t, sock.Empty, sock.Peek(server), "after it was read")

	require.NoError(t, client.Close())
	assert.Equal(t, sock.Closed, sock.Peek(server), "after the peer closed")
	require.NoError(t, server.Close())
	assert.Equal(t, sock.Closed, sock.Peek(server), "after this end closed")

	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	assert.Equal(t, sock.Unknown, sock.Peek(pipe), "a connection without a socket")
}
