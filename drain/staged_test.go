// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/stall"
)

// TestLargeAnswerBeforeAPipelinedRequestArrives is what closeStaged is for: the
// last answer of a connection is still on its way when the next request lies
// unread in the socket, and to close that would reset it.
func TestLargeAnswerBeforeAPipelinedRequestArrives(t *testing.T) {
	const size = 8 << 20
	t.Run("closed in stages", func(t *testing.T) {
		got, err := readSlowly(t, 0, size)
		assert.NoError(t, err)
		assert.EqualValues(t, size, got)
	})
	t.Run("just closed", func(t *testing.T) {
		got, err := readSlowly(t, stagedClose, size)
		assert.Error(t, err, "the mechanism is needed")
		assert.Less(t, got, int64(size))
		t.Logf("%d of %d bytes, then %v", got, size, err)
	})
}

// readSlowly drains a server, without the mechanism that is off, while it sends an
// answer of a size to a client that has sent more than one request and reads at
// leisure. It returns how much of the answer has come.
func readSlowly(t *testing.T, off mechanism, size int) (int64, error) {
	t.Helper()
	// rest is what the client leaves lying until the server has closed: more than
	// its own socket holds, so that some of it waits in the server's, and less than
	// the two hold together, so that the server can finish.
	const rest = 192 << 10
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	begun, pipelined, written := make(chan struct{}), make(chan struct{}), make(chan struct{})
	srv := &Server{Quiet: -1, off: off, HTTP: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/large" {
				return
			}
			close(begun)
			<-pipelined
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(make([]byte, size))
			close(written)
		}),
		ConnState: func(nc net.Conn, state http.ConnState) {
			if state == http.StateNew {
				nc.(*net.TCPConn).SetWriteBuffer(rest)
			}
		},
	}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(64<<10))
	br := bufio.NewReader(c)
	send := func(method, path, body string) {
		_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
		require.NoError(t, err)
	}
	send("GET", "/", "")
	resp, err := http.ReadResponse(br, nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := srv.Drain(ctx)
		drained <- err
	}()
	<-srv.AcceptWindowClosed()
	send("GET", "/large", "")
	<-begun // net/http has read no further than that
	send("POST", "/second", strings.Repeat("x", 1000))
	close(pipelined)

	resp, err = http.ReadResponse(br, nil)
	require.NoError(t, err)
	assert.True(t, resp.Close)
	got, err := io.CopyN(io.Discard, resp.Body, int64(size-rest))
	<-written
	if off == 0 {
		time.Sleep(100 * time.Millisecond) // it is in closeStaged
	} else {
		require.Eventually(t, func() bool { return srv.open() == 0 }, time.Minute, time.Millisecond)
	}
	if err == nil { // it may be reset before
		var n int64
		n, err = io.Copy(io.Discard, resp.Body)
		got += n
	}
	c.Close()
	assert.NoError(t, <-drained)
	assert.Equal(t, http.ErrServerClosed, <-served)
	assert.Equal(t, Stats{}, srv.Stats())
	return got, err
}

// TestStagedCloseEndsWithTheClient: the wait is for the client to close its side,
// not a fixed time; and one that never does is given half a second, however much
// it sends.
func TestStagedCloseEndsWithTheClient(t *testing.T) {
	for _, tt := range []struct {
		name        string
		then        func(c *net.TCPConn)
		least, most time.Duration
	}{
		{"which closes", func(c *net.TCPConn) { c.Close() }, 0, 400 * time.Millisecond},
		{"which closes its side", func(c *net.TCPConn) { c.CloseWrite() }, 0, 400 * time.Millisecond},
		{"which resets", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, 0, 400 * time.Millisecond},
		{"which does nothing", func(*net.TCPConn) {}, stagedWait, 5 * time.Second},
		{"which floods", func(c *net.TCPConn) {
			for {
				if _, err := c.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, stagedWait, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, client := pair(t)
			c.told = true
			late, t0 := stall.Watch(), time.Now()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				io.Copy(io.Discard, client)
				tt.then(client.(*net.TCPConn))
			}()
			require.NoError(t, c.Close())
			took := time.Since(t0)
			<-sent
			assert.GreaterOrEqual(t, took, tt.least)
			assert.Less(t, took-late(), tt.most)
		})
	}
}
