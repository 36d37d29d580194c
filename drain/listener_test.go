// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// queued returns clients that wait in the accept queue of l, each with a request
// in it.
func queued(t *testing.T, l net.Listener, n int) []net.Conn {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	var clients []net.Conn
	for range n {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)
		clients = append(clients, c)
	}
	return clients
}

// listeners are the kinds whose accept queue is emptied.
func listeners(t *testing.T) map[string]func() (net.Listener, error) {
	dir, err := os.MkdirTemp("", "drain") // t.TempDir may be too long for a Unix socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	inherited := func() (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return net.FileListener(f)
	}
	return map[string]func() (net.Listener, error){
		"drain.Listen": func() (net.Listener, error) { return Listen(t.Context(), "tcp", "127.0.0.1:0") },
		"net.Listen":   func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
		"Unix socket":  func() (net.Listener, error) { return net.Listen("unix", filepath.Join(dir, "socket")) },
		"file":         inherited,
	}
}

// TestAcceptQueueIsEmptiedBeforeTheClose shows what a plain close does, and that
// the listener of a drain accepts what waits.
func TestAcceptQueueIsEmptiedBeforeTheClose(t *testing.T) {
	const n = 50
	for name, listen := range listeners(t) {
		t.Run(name, func(t *testing.T) {
			plain, err := listen()
			require.NoError(t, err)
			clients := queued(t, plain, n)
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
			inner, err := listen()
			require.NoError(t, err)
			clients = queued(t, inner, n)
			l := newListener(srv, inner, false)
			require.True(t, srv.add(l))
			l.startClosing(handshakeWait)
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
			served := 0
			for _, c := range clients {
				got := make([]byte, len("answer"))
				if _, err := io.ReadFull(c, got); assert.NoError(t, err) && assert.Equal(t, "answer", string(got)) {
					served++
				}
			}
			t.Logf("drain: %d of %d served", served, n)
			assert.Zero(t, srv.Stats().Open)
			_, err = net.Dial(inner.Addr().Network(), inner.Addr().String())
			assert.Error(t, err)
		})
	}
}

// A socket file's name goes before the queue is emptied, so that nobody can join
// it meanwhile, and is not removed again when it is another's by then.
func TestNameOfAUnixSocketGoesFirst(t *testing.T) {
	listen := listeners(t)["Unix socket"]
	inner, err := listen()
	require.NoError(t, err)
	srv := new(Server)
	srv.setup()
	l := newListener(srv, inner, false)
	require.True(t, srv.add(l))
	client := queued(t, inner, 1)[0]
	l.startClosing(0)
	_, err = net.Dial("unix", inner.Addr().String())
	require.ErrorIs(t, err, os.ErrNotExist)
	next, err := listen()
	require.NoError(t, err, "the next server takes the name")
	defer next.Close()

	c, err := l.Accept()
	require.NoError(t, err, "who was there before is served")
	c.Close()
	c.(*conn).ended()
	_, err = l.Accept()
	require.ErrorIs(t, err, errListenerDrained)
	l.finish()
	again, err := net.Dial("unix", inner.Addr().String())
	require.NoError(t, err, "the next server's name is left alone")
	again.Close()
	client.Close()
}

// A socket that another process holds too lives on, and so does what waits in its
// queue from then on.
func TestSharedSocketLivesOn(t *testing.T) {
	parent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer parent.Close()
	f, err := parent.(*net.TCPListener).File()
	require.NoError(t, err)
	defer f.Close()
	inherited, err := net.FileListener(f)
	require.NoError(t, err)

	srv := &Server{HTTP: &http.Server{}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(inherited) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = srv.Drain(ctx)
	require.NoError(t, err)
	<-served

	client, err := net.DialTimeout("tcp", parent.Addr().String(), time.Minute)
	require.NoError(t, err)
	defer client.Close()
	c, err := parent.Accept()
	require.NoError(t, err)
	c.Close()
}

// raceDialers closes a listener by end while dialers open connections as fast as
// they can, each with a request, and counts those that were reset and those that
// were answered.
func raceDialers(t *testing.T, srv *Server, dialers int, end func(*Server, net.Listener)) (reset, answered int) {
	l, err := Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv.HTTP = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
	})}
	served := make(chan struct{})
	go func() { defer close(served); srv.Serve(l) }()
	var mu sync.Mutex
	var group, atSpeed sync.WaitGroup
	atSpeed.Add(dialers)
	for range dialers {
		group.Go(func() {
			started := sync.OnceFunc(atSpeed.Done)
			defer started()
			for {
				switch err := dialOnce(l.Addr().String()); {
				case err == nil:
					started()
					mu.Lock()
					answered++
					mu.Unlock()
					continue
				case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
					mu.Lock()
					reset++
					mu.Unlock()
				}
				return // refused, or not let in: nothing was sent
			}
		})
	}
	atSpeed.Wait()
	end(srv, l)
	group.Wait()
	<-served
	return reset, answered
}

var errNotConnected = errors.New("not connected")

// dialOnce sends one request on a connection of its own.
func dialOnce(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return err
	case err != nil:
		return errNotConnected
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadAll(c)
	return err
}

// TestDialersThatRaceTheClose is for Linux: elsewhere the last ones may be reset.
func TestDialersThatRaceTheClose(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no socket filter on " + runtime.GOOS)
	}
	rounds, dialers := 40, 16
	if testing.Short() {
		rounds = 4
	}
	drained := func(s *Server, _ net.Listener) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s.Drain(ctx)
	}
	var resets, answers [2]int
	closed := func(s *Server, l net.Listener) { l.Close(); drained(s, l) } // as Shutdown does
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(4) // most of a round is waiting for those who are not let in
	for range rounds {
		for i, end := range []func(*Server, net.Listener){closed, drained} {
			group.Go(func() error {
				r, a := raceDialers(t, &Server{Cap: 1, Floor: 1}, dialers, end)
				mu.Lock()
				defer mu.Unlock()
				resets[i] += r
				answers[i] += a
				return nil
			})
		}
	}
	group.Wait()
	t.Logf("close: %d resets, %d answered; drain: %d resets, %d answered", resets[0], answers[0], resets[1], answers[1])
	assert.NotZero(t, resets[0], "the baseline loses nothing, so this test tests nothing")
	assert.Zero(t, resets[1])
}
