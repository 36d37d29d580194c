// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves echo by a drain.Server, or by net/http alone if plain is set.
func serve(t *testing.T, plain bool) (srv *drain.Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv = &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(echo)}}
	accept := srv.Serve
	if plain {
		accept = srv.HTTP.Serve
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		accept(l)
	}()
	t.Cleanup(func() {
		srv.HTTP.Close()
		<-ended
	})
	return srv, l.Addr().String()
}

func dial(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+addr, nil)
	require.NoError(t, err)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func TestAConnectionThatEndsByItselfLeavesNoGoroutine(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn) error{
		"closed":  func(c *websocket.Conn) error { return c.Close(websocket.StatusNormalClosure, "") },
		"dropped": (*websocket.Conn).CloseNow,
	} {
		for _, plain := range []bool{false, true} {
			if plain {
				name += ", net/http alone"
			}
			t.Run(name, func(t *testing.T) {
				_, addr := serve(t, plain)
				before := goleak.IgnoreCurrent()
				for range 10 {
					conn := dial(t, addr)
					require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
					_, message, err := conn.Read(t.Context())
					require.NoError(t, err)
					assert.Equal(t, "hello", string(message))
					assert.NoError(t, end(conn))
				}
				goleak.VerifyNone(t, before)
			})
		}
	}
}

// A client is slower with a message than the farewell is patient with one that is
// silent.
func TestAMessageUnderWayIsFinished(t *testing.T) {
	srv, addr := serve(t, false)
	conn := dial(t, addr)
	out, err := conn.Writer(t.Context(), websocket.MessageText)
	require.NoError(t, err)
	half := strings.Repeat("x", 10_000) // more than what the client buffers
	_, err = out.Write([]byte(half))
	require.NoError(t, err)

	drained := make(chan drain.Report, 1)
	go func() {
		report, err := srv.Drain(context.Background())
		assert.NoError(t, err)
		drained <- report
	}()
	<-srv.AcceptWindowClosed()
	<-time.After(1500 * time.Millisecond)
	_, err = out.Write([]byte(half))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	_, message, err := conn.Read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, half+half, string(message))
	_, _, err = conn.Read(t.Context())
	assert.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
	assert.Equal(t, int64(1), (<-drained).Hijacked)
}
