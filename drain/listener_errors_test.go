// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

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
