// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// A function is a server in this process.
type function struct {
	l      *listener
	cancel context.CancelFunc
	done   chan struct{}
	result error
}

func startFunc(serve func(context.Context, net.Listener) error) (instance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("draintest: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &function{
		l:      &listener{TCPListener: l.(*net.TCPListener), open: make(map[*conn]struct{})},
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(f.done)
		defer f.l.exit()
		f.result = serve(ctx, f.l)
	}()
	return f, nil
}

func (f *function) address() string       { return f.l.Addr().String() }
func (f *function) terminate() error      { f.cancel(); return nil }
func (f *function) kill()                 { f.cancel(); f.l.exit() }
func (f *function) gone() <-chan struct{} { return f.done }
func (f *function) err() error            { return f.result }
func (f *function) said() string          { return "" }

// A listener does to its connections, when the function returns, what the end
// of a process does. Otherwise a function that returns too early would go on
// answering, and lose nothing that a process would lose.
type listener struct {
	*net.TCPListener

	mu   sync.Mutex // guards what follows
	gone bool
	open map[*conn]struct{}
}

// A conn is a TCP connection in all respects: what looks into its socket can.
type conn struct {
	*net.TCPConn
	l *listener
}

func (l *listener) Accept() (net.Conn, error) {
	tc, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &conn{tc, l}
	l.mu.Lock()
	gone := l.gone
	if !gone {
		l.open[c] = struct{}{}
	}
	l.mu.Unlock()
	if gone {
		tc.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (c *conn) Close() error {
	c.l.mu.Lock()
	delete(c.l.open, c)
	c.l.mu.Unlock()
	return c.TCPConn.Close()
}

// exit closes everything. It may be called again.
func (l *listener) exit() {
	l.TCPListener.Close()
	l.mu.Lock()
	open := l.open
	l.open, l.gone = nil, true
	l.mu.Unlock()
	for c := range open {
		c.TCPConn.Close()
	}
}
