// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// What clients, handlers, listeners and callers may do wrong while a drain goes
// on. Where a bubble cannot show it, as with resets, the sockets are real, and
// the times are bounds instead of instants.

// serveOn is start for any listener, in a bubble or out of it.
func serveOn(t *testing.T, srv *drain.Server, l net.Listener, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { r.served <- srv.Serve(l) }()
	return r
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := drain.Listen(t.Context(), network, address)
	require.NoError(t, err)
	return l
}

func dialAddr(t *testing.T, a net.Addr) *client {
	t.Helper()
	nc, err := net.Dial(a.Network(), a.String())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
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

// send sends a request and does not wait for its answer.
func (c *client) send(path string) {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
	require.NoError(c.t, err)
}

// discard reads what comes until the connection ends. A pipe has no buffer, so
// somebody must.
func (c *client) discard() { go io.Copy(io.Discard, c) }

// nothingOpen checks that the server has no connection left.
func (r *rig) nothingOpen() {
	r.t.Helper()
	assert.Equal(r.t, drain.Stats{}, r.srv.Stats())
}

// drip sends a header that never ends, a byte a second, until the server has had
// enough.
func drip(c net.Conn) {
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nX: ")
	for err == nil {
		time.Sleep(time.Second)
		_, err = io.WriteString(c, "x")
	}
}

func TestSlowlorisEndsAtTheCutBesideAServedClient(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("on kept connections %v", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 100
				var dripping sync.WaitGroup
				r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
				for range n {
					c := r.dial()
					if kept {
						c.get("/")
					}
					dripping.Go(func() { drip(c) })
				}
				answers := make(chan int, 1)
				go func() { // asks every 100 ms, and dials again when told to go
					c := r.dial()
					for i := 0; ; i++ {
						if c.get("/").Close {
							c.waitClosed(time.Now())
							nc, err := r.l.Dial(t.Context())
							if err != nil {
								answers <- i + 1
								return
							}
							c = &client{t, nc, bufio.NewReader(nc)}
						}
						time.Sleep(100 * time.Millisecond)
					}
				}()
				time.Sleep(1050 * time.Millisecond)
				assert.Equal(t, n+1, r.srv.Stats().Open)

				report, took, err := r.drain(20 * time.Second)
				assert.Equal(t, 20*time.Second-drain.CutMargin, took)
				require.ErrorIs(t, err, drain.ErrCut)
				require.Len(t, report.Cut, n)
				assert.Equal(t, "unfinished request from pipe", report.Cut[0])
				assert.ErrorContains(t, err, fmt.Sprintf("; and %d more", n-10))
				// It comes back on a new connection all the while, so the
				// window lasts for 10 s, half of the time given.
				assert.Greater(t, <-answers, 100)
				r.nothingOpen()
				dripping.Wait()
			})
		})
	}
}

// A body that drips is a request that a handler serves: it is waited for, and
// named when it is cut.
func TestDrippingBodyIsNamedWhenItIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			assert.Error(t, err)
		})
		c := r.dial()
		c.discard()
		fmt.Fprint(c, "POST /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")
		var dripping sync.WaitGroup
		dripping.Go(func() { drip(c) })
		synctest.Wait()
		report, took, err := r.drain(20 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 20*time.Second-drain.CutMargin, took)
		assert.Equal(t, []string{"POST /slow (running for more than 19.5s)"}, report.Cut)
		r.nothingOpen()
		dripping.Wait()
	})
}

// A client that has said all it wants to say may close its side. To net/http that
// looks as if it had gone, so the request's context ends; but it reads.
func TestHalfClosedSocketGetsItsWholeAnswer(t *testing.T) {
	const size = 1 << 20
	for _, when := range []string{"before T0", "in the accept window", "when the listener is closed"} {
		t.Run(when, func(t *testing.T) {
			l := listen(t, "tcp", "127.0.0.1:0")
			begun := make(chan struct{}, 2)
			r := serveOn(t, &drain.Server{Floor: 300 * time.Millisecond, Quiet: -1}, l, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/big" {
					return
				}
				begun <- struct{}{}
				w.Write(make([]byte, size/2))
				time.Sleep(150 * time.Millisecond)
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
				time.Sleep(50 * time.Millisecond)
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
				time.Sleep(100 * time.Millisecond)
				c.Conn.(*net.TCPConn).SetLinger(0)
				reset <- time.Now()
				c.Close()
			}()
			report, _, err := r.drain(20 * time.Second)
			assert.Less(t, time.Since(<-reset), 2*time.Second)
			require.NoError(t, err)
			assert.Empty(t, report.Cut)
			r.nothingOpen()
		})
	}
}

// A handler of a connection that it has hijacked.
func hijacks(then func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		then(nc)
	}
}

func TestHandlersThatEndBadlyHoldNothing(t *testing.T) {
	abort := func(what any) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) {
			time.Sleep(3 * time.Second)
			panic(what)
		}
	}
	for _, tt := range []struct {
		name     string
		h        http.HandlerFunc
		hijacked int64
	}{
		{"panic", abort("no"), 0},
		{"http.ErrAbortHandler", abort(http.ErrAbortHandler), 0},
		{"hijack and close", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
		}), 1},
		{"hijack and close twice", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
			nc.Close()
		}), 1},
		{"hijack and close later", hijacks(func(nc net.Conn) {
			time.AfterFunc(3*time.Second, func() { nc.Close() })
		}), 1},
		{"hijack, close and go on", hijacks(func(nc net.Conn) {
			nc.Close()
			time.Sleep(3 * time.Second)
		}), 0},
		{"hijack, close and panic", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
			panic("no")
		}), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startMuted(t, &drain.Server{}, tt.h)
				c := r.dial()
				c.discard()
				c.send("/")
				time.Sleep(time.Second)
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, 2*time.Second, took)
				assert.Equal(t, tt.hijacked, report.Hijacked)
				assert.Zero(t, report.HijackedCut)
				assert.Empty(t, report.Cut)
				r.nothingOpen()
			})
		})
	}
}

// What a handler has hijacked and then forgotten is open for ever, unless
// somebody cuts it.
func TestHijackedAndForgottenIsCutAndCounted(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"return", hijacks(func(net.Conn) {})},
		{"panic", hijacks(func(net.Conn) { panic("no") })},
		{"http.ErrAbortHandler", hijacks(func(net.Conn) { panic(http.ErrAbortHandler) })},
		{"a second Hijack", func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_, _, err := control.Hijack()
			assert.NoError(t, err)
			_, _, err = control.Hijack()
			assert.ErrorIs(t, err, http.ErrHijacked)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startMuted(t, &drain.Server{}, tt.h)
				c := r.dial()
				c.send("/")
				synctest.Wait()
				assert.Equal(t, drain.Stats{Open: 1, Hijacked: 1}, r.srv.Stats())
				report, took, err := r.drain(20 * time.Second)
				require.ErrorIs(t, err, drain.ErrCut)
				assert.Equal(t, 20*time.Second-drain.CutMargin, took)
				assert.EqualValues(t, 1, report.HijackedCut)
				assert.Zero(t, report.Hijacked)
				assert.Equal(t, []string{"hijacked connection from pipe"}, report.Cut)
				c.waitClosed(time.Now())
				r.nothingOpen()
			})
		})
	}
}

func TestErrorNamesTenThingsAndCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 13
		release := make(chan struct{})
		r := start(t, &drain.Server{}, func(http.ResponseWriter, *http.Request) { <-release })
		for i := range n {
			c := r.dial()
			c.discard()
			c.send(fmt.Sprintf("/never/%02d", i))
		}
		synctest.Wait()
		assert.Equal(t, drain.Stats{Open: n, Active: n, InFlight: n}, r.srv.Stats())
		report, took, err := r.drain(20 * time.Second)
		assert.Equal(t, 20*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		require.Len(t, report.Cut, n)
		for i, line := range report.Cut {
			assert.Equal(t, fmt.Sprintf("GET /never/%02d (running for more than 19.5s)", i), line)
			assert.Equal(t, i < 10, strings.Contains(err.Error(), line))
		}
		assert.True(t, strings.HasSuffix(err.Error(), "; and 3 more"), err)
		// Their connections are closed, but they still run, and that is not hidden.
		assert.Equal(t, n, r.srv.Stats().Open)
		close(release)
		synctest.Wait()
		r.nothingOpen()
	})
}

// Middleware changes requests under the eyes of whoever reports them; -race has
// to like it. A mux and a Route are asked with what came in.
func TestHandlerMayMutateTheRequestThatIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &drain.Server{Route: func(r *http.Request) string { return r.Method + " " + r.URL.Path + "{$}" }}
		release := make(chan struct{})
		r := start(t, srv, func(w http.ResponseWriter, r *http.Request) {
			for {
				select {
				case <-release:
					return
				case <-time.After(time.Millisecond):
				}
				r.Method = "POST"
				r.URL.Path += "/other"
				r.URL, _ = r.URL.Parse("/third")
				r.Header.Set("Connection", "close")
			}
		})
		c := r.dial()
		c.discard()
		c.send("/original")
		synctest.Wait()
		report, _, err := r.drain(2 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"GET /original by route GET /original{$} (running for more than 1.9s)"}, report.Cut)
		close(release)
		synctest.Wait()
		r.nothingOpen()
	})
}

func TestDrainCallsOfTheirOwnPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
		type result struct {
			report drain.Report
			err    error
			took   time.Duration
		}
		call := func(d time.Duration) <-chan result {
			done := make(chan result, 1)
			go func() {
				t0 := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), d)
				defer cancel()
				report, err := r.srv.Drain(ctx)
				done <- result{report, err, time.Since(t0)}
			}()
			synctest.Wait()
			return done
		}
		first, impatient, patient := call(20*time.Second), call(time.Second), call(time.Minute)
		assert.Equal(t, result{err: context.DeadlineExceeded, took: time.Second}, <-impatient)
		want := <-first
		assert.NoError(t, want.err)
		assert.Equal(t, 5*time.Second, want.took)
		assert.Equal(t, want, <-patient)
		<-r.served

		// After the end the result is there, even for those who have no time.
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			report, err := r.srv.Drain(cancelled)
			assert.NoError(t, err)
			assert.Equal(t, want.report, report)
		}
		r.nothingOpen()
	})
}

func TestDrainBeforeServeIsFinal(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		t.Run(fmt.Sprintf("with a cancelled context %v", cancelled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &drain.Server{HTTP: new(http.Server), Floor: time.Minute}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if cancelled {
					cancel()
				}
				t0 := time.Now()
				_, err := srv.Drain(ctx)
				require.NoError(t, err)
				assert.Zero(t, time.Since(t0))
				<-srv.AcceptWindowClosed()

				l := memnet.Listen()
				assert.Equal(t, http.ErrServerClosed, srv.Serve(l))
				_, err = l.Dial(t.Context())
				assert.ErrorIs(t, err, net.ErrClosed, "the listener is closed in every case")
				assert.Equal(t, drain.Stats{}, srv.Stats())
			})
		})
	}
}

// The caller must not do it, but a Drain after it has nothing to wait for.
func TestDrainAfterHTTPClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/active" {
				<-r.Context().Done()
			}
		})
		idle, active := r.dial(), r.dial()
		idle.get("/")
		active.send("/active")
		synctest.Wait()
		require.NoError(t, r.srv.HTTP.Close())
		synctest.Wait()
		r.nothingOpen()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Zero(t, took)
		r.nothingOpen()
	})
}

func TestCancelledContextCutsWhatWorksAndNotWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/active":
				<-r.Context().Done()
				assert.ErrorIs(t, context.Cause(r.Context()), drain.ErrCut)
			case "/hijacked":
				hijacks(func(net.Conn) {})(w, r)
			}
		})
		idle, silent, active, hijacked := r.dial(), r.dial(), r.dial(), r.dial()
		idle.get("/")
		active.send("/active")
		hijacked.send("/hijacked")
		time.Sleep(time.Second)
		assert.Equal(t, drain.Stats{Open: 4, New: 1, Active: 1, Idle: 1, Hijacked: 1, InFlight: 1}, r.srv.Stats())

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t0 := time.Now()
		report, err := r.srv.Drain(ctx)
		assert.Zero(t, time.Since(t0))
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"GET /active (running for more than 0s)", "hijacked connection from pipe"}, report.Cut)
		assert.EqualValues(t, 1, report.HijackedCut)
		assert.False(t, report.Quiet)
		for _, c := range []*client{idle, silent, active, hijacked} {
			c.waitClosed(t0)
		}
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		synctest.Wait()
		r.nothingOpen()
	})
}

func TestWithoutADeadlineTheLastRequestIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Hour)
			assert.NoError(t, r.Context().Err())
		})
		c := r.dial()
		time.AfterFunc(time.Second/2, func() { assert.True(t, c.get("/").Close) })
		t0 := time.Now()
		report, err := r.srv.Drain(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Second/2+10*time.Hour, time.Since(t0))
		assert.Equal(t, 1500*time.Millisecond, report.Accept.Took)
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		r.nothingOpen()
	})
}

// A brokenListener fails as its fail says, and hands out connections otherwise.
type brokenListener struct {
	*memnet.Listener
	fail func() error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if err := l.fail(); err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

// A deadlineListener has a SetDeadline that answers as err says and does nothing.
type deadlineListener struct {
	*brokenListener
	err error
}

func (l *deadlineListener) SetDeadline(time.Time) error { return l.err }

// errTemporary is like that of a process which has too many files open.
var errTemporary error = temporary{errors.New("too many open files")}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

func TestTemporaryErrorsOfAListener(t *testing.T) {
	t.Run("before the drain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, fails := memnet.Listen(), 5
			r := serveOn(t, &drain.Server{}, &brokenListener{l, func() error {
				if fails == 0 {
					return nil
				}
				fails--
				return errTemporary
			}}, ok)
			r.l = l
			t0 := time.Now()
			c := r.dial()
			assert.Equal(t, 155*time.Millisecond, time.Since(t0), "net/http waits for 5, 10, 20, 40, 80 ms")
			c.get("/")
			c.Close()
			_, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			r.nothingOpen()
		})
	})
	always := func() error { return errTemporary }
	for _, tt := range []struct {
		name string
		l    net.Listener
		most time.Duration // net/http may have just begun to wait for a second
	}{
		{"while the drain closes it", &brokenListener{fail: always}, time.Second},
		{"while the drain empties its queue", &deadlineListener{&brokenListener{fail: always}, nil}, 1110 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				switch l := tt.l.(type) { // a channel belongs to its bubble
				case *brokenListener:
					l.Listener = memnet.Listen()
				case *deadlineListener:
					l.Listener = memnet.Listen()
				}
				r := serveOn(t, &drain.Server{}, tt.l, ok)
				time.Sleep(10 * time.Second)
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.LessOrEqual(t, took, tt.most)
				assert.Equal(t, took, report.Close.Took)
				r.nothingOpen()
			})
		})
	}
}

func TestListenerThatFailsForGood(t *testing.T) {
	broken := errors.New("broken")
	serve := func(t *testing.T) (r *rig, fail func()) {
		var failed atomic.Bool
		l := memnet.Listen()
		r = serveOn(t, &drain.Server{Floor: time.Second, Quiet: -1}, &brokenListener{l, func() error {
			if failed.Load() {
				return broken
			}
			return nil
		}}, ok)
		r.l = l
		return r, func() {
			synctest.Wait() // in Accept, which looks only when it is called again
			failed.Store(true)
			r.dial().Close()
		}
	}
	t.Run("while serving", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, fail := serve(t)
			c := r.dial()
			c.get("/")
			fail()
			assert.Equal(t, broken, <-r.served)
			_, err := r.l.Dial(t.Context())
			assert.ErrorIs(t, err, net.ErrClosed)
			assert.Equal(t, 200, c.get("/").StatusCode, "what is open is served")

			t0 := time.Now()
			time.AfterFunc(time.Second, func() { assert.True(t, c.get("/").Close) })
			report, err := r.srv.Drain(t.Context())
			require.NoError(t, err)
			assert.Equal(t, time.Second, time.Since(t0))
			assert.Zero(t, report.Accept.Took, "no floor without a listener")
			r.nothingOpen()
		})
	})
	t.Run("in the accept window", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, fail := serve(t)
			c := r.dial()
			c.get("/")
			time.AfterFunc(500*time.Millisecond, fail)
			time.AfterFunc(1200*time.Millisecond, func() { assert.True(t, c.get("/").Close) })
			t0 := time.Now()
			report, err := r.srv.Drain(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 1200*time.Millisecond, time.Since(t0))
			assert.False(t, report.Quiet, "nobody can say whether it was")
			assert.Equal(t, broken, <-r.served)
			r.nothingOpen()
		})
	})
}

func TestListenerWithoutSetDeadlineIsJustClosed(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	plain := struct{ net.Listener }{l} // hides all but the interface
	r := serveOn(t, &drain.Server{Silent: -1}, plain, ok)
	c := dialAddr(t, l.Addr())
	c.get("/")
	c.Close()
	_, took, err := r.drain(10 * time.Second)
	require.NoError(t, err)
	assert.Less(t, took, 5*time.Second)
	_, err = net.Dial("tcp", l.Addr().String())
	assert.Error(t, err)
	r.nothingOpen()
}

// A wrapper may have a SetDeadline and what it wraps none.
func TestListenerWhoseSetDeadlineFailsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		r := serveOn(t, &drain.Server{}, &deadlineListener{&brokenListener{l, func() error { return nil }}, errors.ErrUnsupported}, ok)
		synctest.Wait()
		_, took, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		assert.Less(t, took, time.Second)
	})
}

// A listener is any type, and not all types can be compared.
func TestListenerOfAnUncomparableTypeIsServedAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		r := serveOn(t, &drain.Server{}, uncomparable{Listener: l}, ok)
		r.l = l
		c := r.dial()
		c.get("/")
		c.Close()
		_, _, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		r.nothingOpen()
	})
}

type uncomparable struct {
	net.Listener
	_ []string
}

// A stuckListener's Accept waits for release, whatever happens.
type stuckListener struct{ release chan net.Conn }

func (l stuckListener) Accept() (net.Conn, error) {
	if c, ok := <-l.release; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (stuckListener) Close() error   { return nil }
func (stuckListener) Addr() net.Addr { return memnet.Listen().Addr() }

// startStuck serves on a good listener and on one that cannot be closed.
func startStuck(t *testing.T, h http.HandlerFunc) (r *rig, stuck stuckListener, end func()) {
	r = start(t, &drain.Server{}, h)
	stuck = stuckListener{make(chan net.Conn)}
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(stuck) }()
	synctest.Wait()
	return r, stuck, func() {
		close(stuck.release)
		assert.Equal(t, http.ErrServerClosed, <-done)
	}
}

func TestListenerThatCannotBeClosedDoesNotHoldTheDrainBeyondItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, end := startStuck(t, ok)
		_, took, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		assert.LessOrEqual(t, took, 10*time.Second)
		r.nothingOpen()
		end()
	})
}

// One bad listener does not take from the connections of the good one what they
// are owed: to linger, and to be told before they are cut.
func TestListenerThatCannotBeClosedLeavesTheOthersTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, end := startStuck(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		idle, slow := r.dial(), r.dial()
		idle.get("/")
		answered := make(chan time.Duration, 1)
		t0 := time.Now()
		go func() {
			slow.send("/slow")
			if resp, err := http.ReadResponse(slow.br, nil); assert.NoError(t, err) {
				assert.Equal(t, 503, resp.StatusCode)
			}
			answered <- time.Since(t0)
		}()
		synctest.Wait()
		report, _, err := r.drain(10 * time.Second)
		assert.NoError(t, err)
		assert.EqualValues(t, 2, report.Idle, "and the slow one, once it is answered")
		assert.Equal(t, 7500*time.Millisecond, <-answered)
		end()
		synctest.Wait()
		r.nothingOpen()
	})
}

// Nobody would ever close what such a listener accepts after the end.
func TestConnectionAcceptedAfterTheEndIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stuck, end := startStuck(t, ok)
		_, _, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		ours, theirs := net.Pipe()
		defer ours.Close()
		stuck.release <- theirs
		end()
		time.Sleep(time.Minute)
		r.nothingOpen()
	})
}

func TestListenersOfAllKindsDrainTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listeners := []net.Listener{
		listen(t, "tcp", "127.0.0.1:0"), // closed behind a filter
		listen(t, "unix", path),
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listeners = append(listeners, plain)
	if runtime.GOOS == "linux" {
		listeners = append(listeners, listen(t, "unix", fmt.Sprintf("@lameduck-%d", time.Now().UnixNano())))
	}
	r := serveOn(t, &drain.Server{Floor: 50 * time.Millisecond, Quiet: -1}, listeners[0], ok)
	served := make(chan error, len(listeners))
	for _, l := range listeners[1:] {
		go func() { served <- r.srv.Serve(l) }()
	}
	var clients []*client
	for _, l := range listeners {
		for range 2 {
			c := dialAddr(t, l.Addr())
			c.get("/")
			clients = append(clients, c)
		}
	}
	assert.Equal(t, len(clients), r.srv.Stats().Open)
	go func() {
		<-r.srv.AcceptWindowClosed()
		for i, c := range clients {
			if i%2 == 0 {
				assert.True(t, c.get("/").Close)
			}
		}
	}()
	report, took, err := r.drain(20 * time.Second)
	require.NoError(t, err)
	for range listeners[1:] {
		assert.Equal(t, http.ErrServerClosed, <-served)
	}
	assert.EqualValues(t, len(listeners), report.Idle)
	assert.Less(t, took, 10*time.Second)
	for _, l := range listeners {
		_, err := net.Dial(l.Addr().Network(), l.Addr().String())
		assert.Error(t, err)
	}
	assert.NoFileExists(t, path)
	r.nothingOpen()
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

// waits returns a handler of a LongLived route that says when it was told.
func waits(t *testing.T, told chan<- time.Time) http.HandlerFunc {
	return drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		assert.Equal(t, drain.ErrDraining, context.Cause(r.Context()))
		select {
		case <-drain.Draining(r.Context()):
		default:
			t.Error("LongLived and Draining tell different stories")
		}
		told <- time.Now()
	})).ServeHTTP
}

func TestLongLivedRequestsAreToldOverTheSpread(t *testing.T) {
	for _, tt := range []struct {
		name          string
		floor, spread time.Duration
		want          time.Duration // the last is told by then
	}{
		{"the floor is the default", 4 * time.Second, 0, 4 * time.Second},
		{"set", 0, 6 * time.Second, 6 * time.Second},
		{"at once", 4 * time.Second, -1, 0},
		{"half of the time at most", 0, time.Hour, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 200
				told := make(chan time.Time, n)
				r := start(t, &drain.Server{Floor: tt.floor, Spread: tt.spread, Linger: -1}, waits(t, told))
				for range n {
					c := r.dial()
					c.discard()
					c.send("/events")
				}
				time.Sleep(time.Hour)
				assert.Empty(t, told, "nobody before T0")
				t0 := time.Now()
				report, _, err := r.drain(20 * time.Second)
				require.NoError(t, err)
				assert.Empty(t, report.Cut)
				require.Len(t, told, n)
				var early, late int
				for range n {
					after := (<-told).Sub(t0)
					assert.LessOrEqual(t, after, tt.want)
					if after <= tt.want/4 {
						early++
					}
					if after >= tt.want*3/4 {
						late++
					}
				}
				// A quarter each is expected, and 10 are off by six sigma.
				assert.Greater(t, early, 10)
				assert.Greater(t, late, 10)
				r.nothingOpen()
			})
		})
	}
}

func TestLongLivedRequestAfterT0IsToldInWhatIsLeftOfTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		told := make(chan time.Time, n)
		r := start(t, &drain.Server{Floor: 6 * time.Second, Spread: 4 * time.Second}, waits(t, told))
		t0 := time.Now()
		for range n {
			c := r.dial() // before T0
			c.discard()
			time.AfterFunc(3*time.Second, func() { c.send("/events") })
		}
		time.AfterFunc(4500*time.Millisecond, func() {
			assert.Len(t, told, n)
			for range n {
				after := (<-told).Sub(t0)
				assert.GreaterOrEqual(t, after, 3*time.Second)
				assert.LessOrEqual(t, after, 4*time.Second)
			}
		})
		_, took, err := r.drain(20 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 6*time.Second, took)
		r.nothingOpen()
	})
}

// To tell it before would have it come back here while balancers still send, and
// keep the accept window open.
func TestLongLivedConnectionThatIsNewIsToldOnceTheWindowIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		told := make(chan time.Time, n)
		r := start(t, &drain.Server{Floor: 6 * time.Second}, waits(t, told))
		t0 := time.Now()
		time.AfterFunc(3*time.Second, func() {
			for range n {
				c := r.dial()
				c.discard()
				c.send("/events")
			}
		})
		report, took, err := r.drain(20 * time.Second)
		require.NoError(t, err)
		assert.True(t, report.Quiet)
		assert.Equal(t, 6*time.Second, report.Accept.Took)
		for range n {
			after := (<-told).Sub(t0)
			assert.Greater(t, after, 6*time.Second)
			assert.LessOrEqual(t, after, 7*time.Second)
		}
		assert.LessOrEqual(t, took, 7*time.Second)
		r.nothingOpen()
	})
}

func TestDrainingEndsWithTheConnection(t *testing.T) {
	for _, hijacked := range []bool{false, true} {
		t.Run(fmt.Sprintf("hijacked %v", hijacked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				draining := make(chan (<-chan struct{}), 1)
				r := start(t, &drain.Server{Floor: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
					draining <- drain.Draining(r.Context())
					if hijacked {
						hijacks(func(nc net.Conn) {
							go func() {
								io.Copy(io.Discard, nc)
								nc.Close()
							}()
						})(w, r)
					}
				})
				c := r.dial()
				c.discard()
				c.send("/")
				told := <-draining
				time.Sleep(time.Hour)
				select {
				case <-told:
					t.Error("told before T0")
				default:
				}
				c.Close()
				<-told
				synctest.Wait()
				r.nothingOpen()
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, err := r.srv.Drain(ctx)
				require.NoError(t, err)
				<-r.served
			})
		})
	}
}

// The handlers end by themselves before they are told: nothing is left behind
// that would tell them later.
func TestNoticesEndWithTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Spread: time.Hour}, drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			assert.NoError(t, r.Context().Err())
			hijacks(func(nc net.Conn) { nc.Close() })(w, r)
			<-drain.Draining(r.Context()) // by its own end
		})).ServeHTTP)
		for range 10 {
			c := r.dial()
			c.discard()
			c.send("/")
		}
		synctest.Wait()
		_, took, err := r.drain(10 * time.Hour)
		require.NoError(t, err)
		assert.Equal(t, time.Second, took)
		r.nothingOpen()
	})
}

func TestOutsideAServerNobodyIsTold(t *testing.T) {
	assert.Nil(t, drain.Draining(t.Context()))
	ctx, stop := drain.NotifyContext(t.Context())
	assert.NoError(t, ctx.Err())
	stop()
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	r := httptest.NewRequest("GET", "/", nil)
	drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		assert.Same(t, r, got)
	})).ServeHTTP(httptest.NewRecorder(), r)
}

func TestReportAndStatsCountEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hijacked []net.Conn
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/hijacked":
				hijacks(func(nc net.Conn) { hijacked = append(hijacked, nc) })(w, r)
			case "/slow":
				time.Sleep(time.Hour)
			}
		})
		at := func(ms int, f func()) { time.AfterFunc(time.Duration(ms)*time.Millisecond, f) }
		stats := func(want drain.Stats) {
			t.Helper()
			synctest.Wait()
			assert.Equal(t, want, r.srv.Stats())
		}

		inWindow, lingers, idle, silent, goes, stays := r.dial(), r.dial(), r.dial(), r.dial(), r.dial(), r.dial()
		stats(drain.Stats{Open: 6, New: 6})
		inWindow.get("/")
		lingers.get("/")
		idle.get("/")
		goes.send("/hijacked")
		synctest.Wait()
		stays.send("/hijacked")
		stats(drain.Stats{Open: 6, New: 1, Idle: 3, Hijacked: 2})
		for _, c := range []*client{idle, silent, goes, stays} {
			c.discard()
		}
		time.Sleep(time.Minute)

		// The window is open until 1600 ms: the floor, and a second after the
		// connection at 600 ms.
		at(500, func() { assert.True(t, inWindow.get("/").Close) })
		at(600, func() { assert.True(t, r.dial().get("/").Close) })
		at(650, func() { assert.True(t, r.dial().get("/readyz").Close) })
		at(1000, func() {
			c := r.dial()
			at(1100, func() { assert.True(t, c.get("/").Close) })
		})
		at(1550, func() { r.dial().Close() }) // without a byte, and by itself
		at(1700, func() { assert.True(t, lingers.get("/").Close) })
		at(2200, func() { hijacked[0].Close() })
		at(2300, func() { stats(drain.Stats{Open: 1, Hijacked: 1}) })

		report, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 9500*time.Millisecond, took)
		phase := func(took time.Duration, connections, requests int64) drain.PhaseReport {
			return drain.PhaseReport{Took: took, Connections: connections, Requests: requests}
		}
		assert.Equal(t, drain.Report{
			Accept:      phase(1600*time.Millisecond, 1, 2),
			Linger:      phase(7900*time.Millisecond, 1, 2),
			Quiet:       true,
			Told:        5, // the probe's answer among them
			Idle:        1,
			Silent:      1,
			Hijacked:    1,
			HijackedCut: 1,
			Cut:         []string{"hijacked connection from pipe"},
		}, report)
		assert.Equal(t, phase(took, 2, 4), report.Total())
		r.nothingOpen()
	})
}

// What brings it to its end does not change what a connection was: one that has
// brought a request is not silent.
func TestLateAndStalledConnectionsAreNotCountedAsSilent(t *testing.T) {
	t.Run("idle after the contexts are cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			c := r.dial()
			c.discard()
			c.send("/")
			synctest.Wait()
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 28*time.Second-drain.CancelMargin+drain.LookWait, took)
			assert.Zero(t, report.Silent)
			assert.EqualValues(t, 1, report.Idle)
			r.nothingOpen()
		})
	})
	t.Run("stalled in its second header", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Quiet: -1}, ok)
			c := r.dial()
			c.get("/")
			fmt.Fprint(c, "GET")
			c.discard()
			synctest.Wait()
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 5*time.Second+drain.LookWait, took)
			assert.Zero(t, report.Silent)
			assert.Zero(t, report.Idle)
			assert.EqualValues(t, 1, report.Unfinished)
			r.nothingOpen()
		})
	})
}

// A TLS handshake is no request, not for the cut either.
func TestTLSConnectionWithoutARequestIsNotNamedWhenItIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{}, hasTLS(t))
		c := r.dialTLS()
		c.discard()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := r.srv.Drain(ctx)
		<-r.served
		assert.NoError(t, err)
		assert.Empty(t, report.Cut)
		synctest.Wait()
		r.nothingOpen()
	})
}

// The client resets a stream, which makes the connection idle to net/http while
// the handler goes on.
func TestHTTP2HandlerOfAResetStreamIsWaitedForAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(5 * time.Second)
			}
		})
		transport := &http.Transport{
			TLSClientConfig:   clientTLS(),
			ForceAttemptHTTP2: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return r.l.Dial(ctx) },
		}
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://test/slow", nil)
		require.NoError(t, err)
		_, err = transport.RoundTrip(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, 4*time.Second)
		assert.Less(t, took, 6*time.Second)
		r.nothingOpen()
	})
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

// net/http starts the handler of a stream in a goroutine of its own, which may
// come to run when the connection has already ended.
func TestHTTP2HandlersThatBeginAfterTheEndOfTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(ok), Protocols: new(http.Protocols)}}
		srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
		r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(l) }()
		for range 100 {
			c := r.dial()
			c.discard()
			// The preface, an empty SETTINGS frame, and GET / on streams 1 and 3.
			io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x03\x82\x84\x86\x41\x01a")
			c.Close()
		}
		time.Sleep(time.Second)
		r.nothingOpen()
		c := r.dial() // whoever counts wrong waits for it, or does not
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, drain.DefaultSilent+drain.LookWait, took)
		c.waitClosed(time.Now())
		r.nothingOpen()
	})
}

// A linger that is as good as none does not turn into one that is over.
func TestHugeDurationsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Linger: math.MaxInt64, Silent: math.MaxInt64, Spread: math.MaxInt64}, ok)
		r.dial().get("/")
		r.dial() // silent
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 28*time.Second-drain.CancelMargin+drain.LookWait, took)
		assert.EqualValues(t, 1, report.Idle)
		assert.EqualValues(t, 1, report.Silent)
		r.nothingOpen()
	})
}

// A client that sends a byte now and then does not hold the drain: its time counts
// from the first byte that the drain has seen.
func TestDrippingHeaderDoesNotHoldTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Quiet: -1}, ok)
		c := r.dial()
		c.discard()
		dripping := make(chan struct{})
		go func() {
			defer close(dripping)
			for _, err := io.WriteString(c, "G"); err == nil; _, err = io.WriteString(c, "E") {
				time.Sleep(4 * time.Second)
			}
		}()
		synctest.Wait()
		_, took, err := r.drain(time.Minute)
		require.NoError(t, err)
		assert.LessOrEqual(t, took, 5*time.Second+20*time.Millisecond)
		<-dripping
		r.nothingOpen()
	})
}

// The handlers of streams that are reset at once begin when net/http has called
// their connection idle again.
func TestHTTP2StreamsThatAreResetAtOnceDoNotHoldTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &drain.Server{Quiet: -1, HTTP: &http.Server{Handler: http.HandlerFunc(ok), Protocols: new(http.Protocols)}}
		srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
		r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(l) }()
		for range 50 {
			c := r.dial()
			c.discard()
			// The preface in two parts, SETTINGS, HEADERS of GET / on stream 1, and its reset.
			io.WriteString(c, "P")
			io.WriteString(c, "RI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a"+
				"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08")
		}
		synctest.Wait()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Less(t, took, 4*time.Second, "no more than Shutdown's second for a GOAWAY")
		r.nothingOpen()
	})
}

// The functions of RegisterOnShutdown are called even when the drain is cut.
func TestRegisterOnShutdownIsCalledAtTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := make(chan struct{})
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) { <-called })
		r.srv.HTTP.RegisterOnShutdown(func() { close(called) })
		c := r.dial()
		c.discard()
		c.send("/")
		synctest.Wait()
		_, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 9500*time.Millisecond, took)
		r.nothingOpen()
	})
}

// net/http would see neither HTTP/2 nor Request.TLS behind such a listener.
func TestListenerThatHandsOutTLSConnectionsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &drain.Server{HTTP: new(http.Server)}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(struct{ net.Listener }{tls.NewListener(l, &tls.Config{})}) }()
		nc, err := l.Dial(t.Context())
		require.NoError(t, err)
		defer nc.Close()
		assert.ErrorContains(t, <-served, "use ServeTLS")
	})
}

// A handler's own Connection header wins, so its client is not counted as told.
func TestHandlersOwnConnectionHeaderIsNotCountedAsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" {
				w.Header().Set("Connection", "keep-alive")
			}
		})
		c := r.dial()
		time.AfterFunc(500*time.Millisecond, func() {
			assert.False(t, c.get("/events").Close)
			assert.True(t, c.get("/").Close)
		})
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Told)
		r.nothingOpen()
	})
}
