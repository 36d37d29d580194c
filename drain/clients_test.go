// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/internal/stall"
)

// A client that has said all it wants to say may close its side. To net/http that
// looks as if it had gone, so the request's context ends; but it reads.
func TestHalfClosedSocketGetsItsWholeAnswer(t *testing.T) {
	const size = 1 << 20
	for _, when := range []string{"before T0", "in the accept window", "when the listener is closed"} {
		t.Run(when, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			begun := make(chan struct{}, 2)
			srv := &drain.Server{Floor: 300 * time.Millisecond, Quiet: -1}
			r := serveOn(t, srv, l, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/big" {
					return
				}
				begun <- struct{}{}
				w.Write(make([]byte, size/2))
				<-srv.AcceptWindowClosed()
				w.Write(make([]byte, size/2))
			})
			c := dialAddr(t, l.Addr())
			c.get("/")
			send := func() {
				c.send("/big")
				require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
			}
			if when == "before T0" {
				send()
				<-begun
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _, err := r.drain(10 * time.Second)
				assert.NoError(t, err)
			}()
			switch when {
			case "in the accept window":
				require.Eventually(t, srv.Leaving, time.Minute, time.Millisecond)
				send()
			case "when the listener is closed":
				<-r.srv.AcceptWindowClosed()
				send()
			}
			resp, err := http.ReadResponse(c.br, nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Len(t, body, size)
			<-done
			r.nothingOpen()
		})
	}
}

// A deafListener's connections have a CloseWrite as those of TCP have, but their
// clients take no notice.
type deafListener struct{ *memnet.Listener }

type deafConn struct{ net.Conn }

func (deafConn) CloseWrite() error { return nil }

func (l deafListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return deafConn{c}, nil
}

func TestClientsThatIgnoreConnectionCloseHoldTheDrainFor500ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		l := memnet.Listen()
		var served atomic.Int32
		r := serveOn(t, &drain.Server{Floor: time.Second, Quiet: -1}, deafListener{l}, func(w http.ResponseWriter, r *http.Request) {
			served.Add(1)
			ok(w, r)
		})
		r.l = l
		var sent sync.WaitGroup
		for range n {
			c := r.dial()
			c.get("/")
			sent.Go(func() {
				time.Sleep(1200 * time.Millisecond)
				assert.True(t, c.get("/").Close)
				var err error
				for err == nil { // it goes on all the same, until nobody reads
					_, err = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 1700*time.Millisecond, took)
		assert.EqualValues(t, n, report.Told)
		assert.EqualValues(t, 2*n, served.Load(), "what comes after the last answer is not served")
		sent.Wait()
		r.nothingOpen()
	})
}

// The answer is complete, and nobody's work is lost when such a connection is
// closed both ways at the deadline.
func TestClientThatIgnoresConnectionCloseIsNotReportedAsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		r := serveOn(t, &drain.Server{Floor: time.Second, Quiet: -1}, deafListener{l}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(8300 * time.Millisecond)
			ok(w, r)
		})
		r.l = l
		c := r.dial()
		time.AfterFunc(time.Second, func() { assert.True(t, c.get("/").Close) }) // until 200 ms before the cut
		report, took, err := r.drain(10 * time.Second)
		assert.Equal(t, 9500*time.Millisecond, took)
		assert.NoError(t, err)
		assert.Empty(t, report.Cut)
		r.nothingOpen()
	})
}

func TestResetsEndTheWaitAtOnce(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf."
	for _, tt := range []struct {
		name, first, sent string
		active            bool // a handler runs then
	}{
		{"in a new connection's header", "", "GET / HTTP/1.1\r\nHo", false},
		{"in a kept connection's header", "/", "GET / HTTP/1.1\r\nHo", false},
		{"in a body", "", post, true},
		{"in an answer that is being written", "", "GET /endless HTTP/1.1\r\nHost: test\r\n\r\n", true},
		{"in an answer that is being thought about", "", "GET /thinks HTTP/1.1\r\nHost: test\r\n\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			begun := make(chan struct{}, 1)
			r := serveOn(t, &drain.Server{Linger: time.Minute, Silent: time.Minute, Quiet: -1}, l, func(w http.ResponseWriter, r *http.Request) {
				if tt.active {
					begun <- struct{}{}
				}
				io.Copy(io.Discard, r.Body)
				switch r.URL.Path {
				case "/endless":
					for {
						if _, err := w.Write(make([]byte, 64<<10)); err != nil {
							return
						}
					}
				case "/thinks":
					<-r.Context().Done()
				}
			})
			c := dialAddr(t, l.Addr())
			if tt.first != "" {
				c.get(tt.first)
			}
			fmt.Fprint(c, tt.sent)
			if tt.active {
				<-begun
			}
			reset := make(chan time.Time, 1)
			go func() {
				<-r.srv.AcceptWindowClosed()
				c.Conn.(*net.TCPConn).SetLinger(0)
				reset <- time.Now()
				c.Close()
			}()
			late := stall.Watch()
			report, _, err := r.drain(20 * time.Second)
			assert.Less(t, time.Since(<-reset)-late(), 2*time.Second)
			require.NoError(t, err)
			assert.Empty(t, report.Cut)
			r.nothingOpen()
		})
	}
}

// net/http answers "OPTIONS *" itself, so no handler says what is spoken.
func TestOptionsStarIsIdleHTTP1(t *testing.T) {
	for _, tt := range []struct {
		name string
		h2c  bool
	}{{"HTTP/1 only", false}, {"beside unencrypted HTTP/2", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := memnet.Listen()
				srv := &drain.Server{Floor: time.Second, Quiet: -1}
				r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
				srv.HTTP = &http.Server{Handler: http.HandlerFunc(ok)}
				if tt.h2c {
					srv.HTTP.Protocols = new(http.Protocols)
					srv.HTTP.Protocols.SetHTTP1(true)
					srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
				}
				go func() { r.served <- srv.Serve(l) }()
				options := func() *client {
					c := r.dial()
					fmt.Fprint(c, "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
					assert.Equal(t, 200, c.answer().StatusCode)
					return c
				}
				idle, talks := options(), options()
				synctest.Wait()
				assert.Equal(t, drain.Stats{Open: 2, Idle: 2}, srv.Stats())
				time.AfterFunc(1200*time.Millisecond, func() { assert.True(t, talks.get("/").Close) })
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.EqualValues(t, 1, report.Idle)
				assert.EqualValues(t, 1, report.Total().Requests)
				assert.GreaterOrEqual(t, took, drain.DefaultLinger*4/5)
				assert.LessOrEqual(t, took, drain.DefaultLinger+20*time.Millisecond)
				idle.waitClosed(time.Now())
				r.nothingOpen()
			})
		})
	}
}

// What reaches the caller's log is net/http's, and nothing of it is a panic of
// the bookkeeping.
func TestRequestsThatAreNoneAreAnsweredAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		r := start(t, &drain.Server{Floor: time.Second}, ok)
		r.srv.HTTP.ErrorLog = log.New(&logged, "", 0)
		for _, bad := range []string{
			"\r\n\r\n",
			"GET\r\n\r\n",
			"GET / HTTP/9.9\r\n\r\n",
			"GET / HTTP/1.1\r\n\r\n", // no Host
			"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		} {
			c := r.dial()
			c.discard()
			fmt.Fprint(c, bad)
		}
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.LessOrEqual(t, took, report.Accept.Took+5*time.Second+20*time.Millisecond, "the time for a half-sent header")
		assert.Empty(t, report.Cut)
		assert.NotContains(t, logged.String(), "panic")
		r.nothingOpen()
	})
}
