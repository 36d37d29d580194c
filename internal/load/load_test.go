// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A script is what a server does with one connection.
type script func(t *testing.T, c *net.TCPConn, br *bufio.Reader)

func read(t *testing.T, br *bufio.Reader) {
	req, err := http.ReadRequest(br)
	if assert.NoError(t, err) {
		io.Copy(io.Discard, req.Body)
	}
}

// Each script ends in a loss or in a closed connection.
var (
	resets = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) { read(t, br); c.SetLinger(0) }
	closes = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) { read(t, br) }
	cuts   = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) {
		read(t, br)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
	}
	fails = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) {
		read(t, br)
		fmt.Fprint(c, "HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
	}
	hangs = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) { read(t, br); io.Copy(io.Discard, br) }
	// leaves answers one request and closes the connection when it is idle.
	leaves = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) {
		read(t, br)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nServer-Id: s\r\nContent-Length: 2\r\n\r\nok")
	}
	// says answers two requests, the second one with a farewell.
	says = func(t *testing.T, c *net.TCPConn, br *bufio.Reader) {
		read(t, br)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		read(t, br)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	}
)

func TestEveryOutcomeIsCountedOnce(t *testing.T) {
	scripts := []script{resets, leaves, closes, says, cuts, fails, hangs, leaves}
	want := []Cause{Reset, OK, Closed, OK, OK, Truncated, Status, Timeout, OK, Refused}
	const kept = 4 // the outcome after which says goes on

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := make(chan struct{}) // of each script, and when all are over
	go func() {
		defer close(closed)
		for i, s := range scripts {
			c, err := l.Accept()
			if !assert.NoError(t, err) {
				return
			}
			s(t, c.(*net.TCPConn), bufio.NewReader(c))
			c.Close()
			if i < len(scripts)-1 {
				closed <- struct{}{}
			}
		}
		l.Close()
	}()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []Cause
	c := &Client{
		// The think time is for the close of an idle connection to arrive.
		Kind:    Kind{MinThink: 20 * time.Millisecond, MaxThink: 60 * time.Millisecond},
		Path:    "/",
		timeout: 500 * time.Millisecond,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		},
		Record: func(r Result) {
			got = append(got, r.Cause)
			assert.Equal(t, r.Cause == OK, r.Err == nil, "%v: %v", r.Cause, r.Err)
			if len(got) == len(want) {
				cancel()
			}
			if len(got) != kept {
				<-closed
			}
		},
	}
	c.Run(ctx)
	assert.Equal(t, want, got)
}

func TestRunFinishesWhatItHasBegun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if !assert.NoError(t, err) {
			return
		}
		defer c.Close()
		read(t, bufio.NewReader(c))
		cancel() // while the request is under way
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}()
	var got []Cause
	c := &Client{
		Kind:   Kind{Method: "GET"},
		Path:   "/",
		Dial:   func(context.Context) (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) },
		Record: func(r Result) { got = append(got, r.Cause) },
	}
	c.Run(ctx)
	assert.Equal(t, []Cause{OK}, got)
}

// A Client with a think time waits before its first request for a part of Spread,
// and then for no less and no more than the kind says.
func TestThinkTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spread, shortest, longest = time.Minute, 10 * time.Second, 40 * time.Second
		l := memnet.Listen()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		ctx, cancel := context.WithCancel(t.Context())
		var waits []time.Duration
		last := time.Now()
		c := &Client{
			Kind:   Kind{MinThink: shortest, MaxThink: longest},
			Path:   "/",
			Dial:   l.Dial,
			Spread: spread,
			Record: func(r Result) {
				assert.Equal(t, OK, r.Cause)
				waits = append(waits, r.Start.Sub(last))
				last = r.Start
				if len(waits) == 1001 {
					cancel()
				}
			},
		}
		c.Run(ctx)
		srv.Close()
		<-served

		assert.LessOrEqual(t, waits[0], spread)
		thinks := slices.Sorted(slices.Values(waits[1:]))
		assert.GreaterOrEqual(t, thinks[0], shortest)
		assert.LessOrEqual(t, thinks[999], longest)
		assert.InDelta(t, 25, thinks[500].Seconds(), 5, "the median; 5 s are ten sigma")
	})
}

func TestMethods(t *testing.T) {
	for method, want := range map[string]string{"": "POST", "GET": "GET", "HEAD": "HEAD", "PUT": "PUT"} {
		c := &Client{Kind: Kind{Method: method, NewConn: true}, Path: "/path"}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.request(0xab))))
		require.NoError(t, err)
		assert.Equal(t, "00000000000000ab", req.Header.Get("Request-Id"))
		assert.Equal(t, want, req.Method)
		assert.Equal(t, want == "POST" || want == "PUT", req.ContentLength > 0, want)
		assert.True(t, req.Close)
	}
}
