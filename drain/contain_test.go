// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// A wrapListener is a listener of a program's own. The functions are called before what
// they are named for; nil ones are not.
type wrapListener struct {
	*memnet.Listener
	onClose, onSetDeadline, onLastAccept func()

	draining atomic.Bool // SetDeadline was called
	wrap     func(net.Conn) net.Conn
}

func (l *wrapListener) Accept() (net.Conn, error) {
	if l.draining.Load() {
		before(l.onLastAccept)
	}
	nc, err := l.Listener.Accept()
	if err == nil && l.wrap != nil {
		nc = l.wrap(nc)
	}
	return nc, err
}

func (l *wrapListener) Close() error {
	before(l.onClose)
	return l.Listener.Close()
}

// SetDeadline ends all Accepts, of which there is none but the drain's own.
func (l *wrapListener) SetDeadline(time.Time) error {
	before(l.onSetDeadline)
	l.draining.Store(true)
	return l.Listener.Close()
}

// A wrapConn is a connection of a program's own.
type wrapConn struct {
	net.Conn
	onClose, onSetReadDeadline, onRemoteAddr, onWrite, onNetConn func()
}

func before(f func()) {
	if f != nil {
		f()
	}
}

func (c *wrapConn) Close() error {
	before(c.onClose)
	return c.Conn.Close()
}

func (c *wrapConn) SetReadDeadline(t time.Time) error {
	if t.Equal(time.Unix(1, 0)) { // the drain's own
		before(c.onSetReadDeadline)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *wrapConn) RemoteAddr() net.Addr {
	before(c.onRemoteAddr)
	return c.Conn.RemoteAddr()
}

func (c *wrapConn) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "lameduck") { // the drain's own
		before(c.onWrite)
	}
	return c.Conn.Write(p)
}

func (c *wrapConn) NetConn() net.Conn {
	before(c.onNetConn)
	return c.Conn
}

// startWrapped is startH2C on a listener of the program's.
func startWrapped(t *testing.T, srv *drain.Server, l *wrapListener, h http.HandlerFunc) *rig {
	t.Helper()
	if l.Listener == nil {
		l.Listener = memnet.Listen()
	}
	r := &rig{t: t, srv: srv, l: l.Listener, served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h, Protocols: protocols("h2c")}
	go func() { r.served <- srv.Serve(l) }()
	synctest.Wait()
	return r
}

// odd are the ways in which a function may fail that has no error, but a hang.
var odd = map[string]struct {
	f    func()
	says string
}{
	"panics":               {func() { panic("odd") }, "panicked: odd"},
	"panics with an error": {func() { panic(errors.New("odd")) }, "panicked: odd"},
	"calls runtime.Goexit": {runtime.Goexit, "called runtime.Goexit"},
}

// What a listener of the program's does wrong is an error that names its type; a client
// is served, and the drain takes no longer than it would.
func TestListenersThatFailOddly(t *testing.T) {
	for how, tt := range odd {
		for method, place := range map[string]func(*wrapListener){
			"Close":       func(l *wrapListener) { l.onClose = tt.f },
			"SetDeadline": func(l *wrapListener) { l.onSetDeadline = tt.f },
			"Accept":      func(l *wrapListener) { l.onLastAccept = tt.f },
		} {
			if method == "SetDeadline" && how == "calls runtime.Goexit" {
				continue // ends the caller's goroutine, which nothing can keep
			}
			if method == "Accept" && how == "calls runtime.Goexit" {
				continue // ends Serve's, as it does before the drain
			}
			t.Run(method+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := new(wrapListener)
					place(l)
					r := startWrapped(t, &drain.Server{Floor: time.Second}, l, ok)
					c := r.dial()
					c.discard()
					c.send("/")
					synctest.Wait()
					report, took, err := r.drain(20 * time.Second)
					assert.LessOrEqual(t, took, 4*time.Second)
					assert.ErrorContains(t, err, fmt.Sprintf("drain: %s of the listener *drain_test.wrapListener %s", method, tt.says))
					assert.NotErrorIs(t, err, drain.ErrCut)
					assert.Empty(t, report.Cut)
					r.nothingOpen()
				})
			})
		}
	}
}

// A listener that does not close holds up neither Serve nor the end of its connections.
func TestListenerThatHangs(t *testing.T) {
	for name, tt := range map[string]struct {
		given, want time.Duration // want: the cut
	}{
		"a long time":  {20 * time.Second, 19500 * time.Millisecond},
		"a short time": {200 * time.Millisecond, 190 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				l := &wrapListener{onClose: func() { <-release }}
				r := startWrapped(t, &drain.Server{}, l, ok)
				c := r.dial()
				c.discard()
				c.send("/")
				synctest.Wait()
				report, took, err := r.drain(tt.given)
				assert.Equal(t, tt.want, took)
				const says = "Close of the listener *drain_test.wrapListener, which has not returned"
				assert.Equal(t, []string{says}, report.Cut)
				require.ErrorIs(t, err, drain.ErrCut)
				assert.ErrorContains(t, err, says)
				r.nothingOpen()
				close(release)
			})
		})
	}
}

// guilty makes the first connection that is accepted what it is given to.
func guilty(place func(*wrapConn)) *wrapListener {
	first := true
	return &wrapListener{wrap: func(nc net.Conn) net.Conn {
		c := &wrapConn{Conn: nc}
		if first {
			place(c)
		}
		first = false
		return c
	}}
}

// work serves what the clients of the following tests ask for.
func work(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hijacked":
		hijacks(func(net.Conn) {})(w, r)
	case "/active":
		<-r.Context().Done()
		time.Sleep(time.Second)
	}
}

// A connection of the program's that does something wrong is an error that names its
// type, wherever it is called, and the others are closed all the same.
func TestConnectionsThatFailOddly(t *testing.T) {
	for how, tt := range odd {
		for _, place := range []struct {
			path, method string
			at           func(*wrapConn)
		}{
			{"/idle", "Close", func(c *wrapConn) { c.onClose = tt.f }},
			{"/active", "Close", func(c *wrapConn) { c.onClose = tt.f }},
			{"/hijacked", "Close", func(c *wrapConn) { c.onClose = tt.f }},
			{"/idle", "SetReadDeadline", func(c *wrapConn) { c.onSetReadDeadline = tt.f }},
			{"/hijacked", "RemoteAddr", nil},
		} {
			if place.method != "Close" && how == "calls runtime.Goexit" {
				continue // ends the caller's goroutine
			}
			t.Run(fmt.Sprint(place.method, " ", how, " ", place.path), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var first *wrapConn
					l := guilty(func(c *wrapConn) { first = c })
					r := startWrapped(t, &drain.Server{Linger: time.Second}, l, work)
					var clients []*client
					for _, path := range []string{place.path, "/idle", "/active", "/hijacked"} {
						c := r.dial()
						c.discard()
						c.send(path)
						synctest.Wait()
						clients = append(clients, c)
					}
					if place.at == nil { // net/http asks for it first
						first.onRemoteAddr = tt.f
					} else {
						place.at(first)
					}
					_, took, err := r.drain(20 * time.Second)
					assert.LessOrEqual(t, took, 20*time.Second)
					require.ErrorIs(t, err, drain.ErrCut)
					assert.ErrorContains(t, err, fmt.Sprintf("drain: %s of the connection *drain_test.wrapConn %s", place.method, tt.says))
					for _, c := range clients[1:] {
						_, err := c.Write([]byte("x"))
						assert.Error(t, err, "closed")
					}
					first.Conn.Close()
					synctest.Wait()
					r.nothingOpen()
				})
			})
		}
	}
}

// A Close that hangs is waited for until the cut, or the deadline after one, and named
// if it has not returned by then. Everything else is over long before.
func TestConnectionsThatHang(t *testing.T) {
	for _, tt := range []struct {
		path  string
		given time.Duration
		takes time.Duration // Close, or 0: does not return
		want  time.Duration
	}{
		{"/idle", 20 * time.Second, 0, 19500 * time.Millisecond},
		{"/idle", 20 * time.Second, 3 * time.Second, 4005 * time.Millisecond},
		{"/active", 20 * time.Second, 0, 20 * time.Second},
		{"/hijacked", 20 * time.Second, 0, 20 * time.Second},
		{"/hijacked", 200 * time.Millisecond, 0, 200 * time.Millisecond},
		{"/hijacked", 0, 0, 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(tt.path, " ", tt.given, " ", tt.takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				closing := func() {
					if tt.takes != 0 {
						time.Sleep(tt.takes)
					} else {
						<-release
					}
				}
				l := guilty(func(c *wrapConn) { c.onClose = closing })
				r := startWrapped(t, &drain.Server{Linger: -1}, l, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/active" {
						<-release
					} else {
						work(w, r)
					}
				})
				first, second := r.dial(), r.dial()
				first.send(tt.path)
				second.send(tt.path)
				first.discard()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					io.Copy(io.Discard, second)
				}()
				time.Sleep(time.Second)
				report, took, err := r.drain(tt.given)
				assert.Equal(t, tt.want, took)
				<-ended // the bubble is deadlocked otherwise
				const says = "Close of the connection *drain_test.wrapConn, which has not returned"
				if tt.takes != 0 {
					assert.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, drain.ErrCut)
				assert.Contains(t, report.Cut, says)
				assert.ErrorContains(t, err, says)
			})
		})
	}
}

// A panic while an HTTP/2 client is told to go, in a goroutine of the drain's, leaves the
// client to net/http.
func TestConnectionThatPanicsWhenItIsToldToGo(t *testing.T) {
	for method, place := range map[string]func(*wrapConn){
		"Write":   func(c *wrapConn) { c.onWrite = func() { panic("odd") } },
		"NetConn": func(c *wrapConn) { c.onNetConn = func() { panic("odd") } },
	} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startWrapped(t, &drain.Server{Floor: time.Second, Spread: -1}, guilty(place), ok)
				first, second := r.dial().http2(""), r.dial().http2("")
				first.get(1)
				second.get(1)
				synctest.Wait()
				_, took, err := r.drain(20 * time.Second)
				assert.LessOrEqual(t, took, 12*time.Second)
				assert.ErrorContains(t, err, "drain: "+method+" of the connection *drain_test.wrapConn panicked: odd")
				<-first.end
				<-second.end
				assert.Len(t, second.goAways(), 2)
				r.nothingOpen()
			})
		})
	}
}

// A gRPC server closes its connections in goroutines of its own.
func TestConnectionOfAGRPCServerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGRPC{handle: func(context.Context, string) {}}
		srv := &drain.Server{Floor: time.Second}
		l := guilty(func(c *wrapConn) { c.onClose = func() { panic("odd") } })
		l.Listener = memnet.Listen()
		r := startGRPCWrapped(t, srv, g, l.Listener, l)
		first, second := r.dial().http2(""), r.dial().http2("")
		first.call(1, "/t.T/Call")
		second.call(1, "/t.T/Call")
		synctest.Wait()
		_, _, err := r.drain(20 * time.Second)
		assert.ErrorContains(t, err, "drain: Close of the connection *drain_test.wrapConn panicked: odd")
		<-second.end
		r.nothingOpen()
		first.Close()
	})
}

// However many connections do something wrong, the error has room for some.
func TestErrorOfManyFaultsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &wrapListener{wrap: func(nc net.Conn) net.Conn {
			return &wrapConn{Conn: nc, onClose: func() { nc.Close(); panic("odd") }}
		}}
		r := startWrapped(t, new(drain.Server), l, ok)
		for range 25 {
			c := r.dial()
			c.discard()
			c.send("/")
		}
		synctest.Wait()
		_, _, err := r.drain(20 * time.Second)
		require.Error(t, err)
		assert.Equal(t, 10, strings.Count(err.Error(), "panicked: odd"))
		assert.ErrorContains(t, err, "drain: and 15 more")
	})
}

// Before the drain a panic of a connection's own is nobody's business but net/http's.
func TestListenerThatPanicsBeforeTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &wrapListener{Listener: memnet.Listen(), onClose: func() { panic("odd") }}
		srv := &drain.Server{HTTP: new(http.Server)}
		l.Listener.Close() // Accept fails, and then Close
		assert.PanicsWithValue(t, "odd", func() { srv.Serve(l) })
		_, err := srv.Drain(t.Context())
		assert.NoError(t, err, "it has no listener any more")
	})
}
