// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// The client that nil means keeps one connection while it is used, and lets go of
// it when it is not any more, though the server does not.
func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient()
		dials, closed := 0, make(chan struct{}, 2)
		client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			dials++
			conn, server := net.Pipe()
			go func() {
				serve(server)
				closed <- struct{}{}
			}()
			return conn, nil
		}
		check := HTTP(client, "http://localhost/")
		const interval = 5 * time.Second
		for range 10 {
			assert.NoError(t, check(t.Context()))
			time.Sleep(interval)
		}
		assert.Equal(t, 1, dials)
		time.Sleep(90*time.Second - interval - 1)
		synctest.Wait()
		assert.Empty(t, closed)
		time.Sleep(time.Nanosecond)
		<-closed
		assert.NoError(t, check(t.Context()))
		assert.Equal(t, 2, dials)
		client.CloseIdleConnections()
		<-closed
	})
}

// A server that accepts and says nothing keeps no goroutine of a run, or this bubble
// would not end: net/http goes on with the handshake when the run is over.
func TestHandshakeThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient()
		closed := make(chan time.Duration, 1)
		t0 := time.Now()
		client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			conn, server := net.Pipe()
			go func() {
				io.Copy(io.Discard, server)
				closed <- time.Since(t0)
			}()
			return conn, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, HTTP(client, "https://localhost/")(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(t0))
		assert.Equal(t, maxConnect, <-closed)
	})
}

// serve answers the requests of a connection until it is closed.
func serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// An endless is a body without an end, and counts what is read of it.
type endless struct {
	read   int
	closed bool
}

func (e *endless) Read(p []byte) (int, error) { e.read += len(p); return len(p), nil }
func (e *endless) Close() error               { e.closed = true; return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// No more of an answer is read than its bound, to the byte, and it is closed
// whatever it was.
func TestBodyIsReadToItsBound(t *testing.T) {
	for _, code := range []int{200, 301, 404, 503} {
		body := new(endless)
		client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: body}, nil
		})}
		err := HTTP(client, "http://localhost/")(t.Context())
		assert.Equal(t, code == 200, err == nil, "%d: %v", code, err)
		assert.Equal(t, 64<<10, body.read, code)
		assert.True(t, body.closed, code)
	}
}
