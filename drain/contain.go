// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lameduck-go/lameduck/internal/sock"
)

// Listeners, connections and gRPC servers may be wrappers of the program's. While a
// server drains they are called in goroutines where nobody recovers a panic, and under
// locks of net/http's, where one that hangs holds up all others. So what they do wrong
// is an error of Drain, and nothing waits for them for long.

const (
	// patience is how long a Close of the program's own is waited for before all else
	// goes on without it, or half of the time between the cut and the deadline if that
	// is less. It has the rest of the drain's time to return.
	patience = 250 * time.Millisecond
	// noTime is the same where Drain was called without any time.
	noTime = 10 * time.Millisecond
)

var errHangs = errors.New("drain: Close has not returned yet")

// faults is what the program's listeners, connections and gRPC server have done wrong.
type faults struct {
	errs    []error
	more    int                  // that are not in errs
	running map[*string]struct{} // what was called and has not returned
}

// contain calls f, and reports whether it has returned. A panic is an error of Drain, in
// which what is the name of f; so is runtime.Goexit, but that ends the goroutine.
func (s *Server) contain(what string, f func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		how := "called runtime.Goexit"
		if v := recover(); v != nil {
			how = fmt.Sprintf("panicked: %v", v)
		}
		s.fault(fmt.Errorf("drain: %s %s\n%s", what, how, debug.Stack()))
	}()
	f()
	return true
}

func (s *Server) fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults.errs) == named {
		s.faults.more++
		return
	}
	s.faults.errs = append(s.faults.errs, err)
}

// close closes a listener or a connection of the program's. Before the drain that is
// nobody's business: a panic goes where it would go without this package.
func (s *Server) close(kind string, c io.Closer) error {
	if s.in() == serving || plain(c) {
		return c.Close()
	}
	var err error
	closed := s.apart(fmt.Sprintf("Close of the %s %T", kind, c), func() { err = c.Close() })
	if !within(s.patience, closed) {
		return errHangs
	}
	return err
}

// apart calls f in a goroutine of its own, and closes what it returns when f has
// returned. Drain waits for it at its end.
func (s *Server) apart(what string, f func()) <-chan struct{} {
	done := make(chan struct{})
	over := s.running(what)
	go func() {
		defer func() {
			if s.in() >= ending { // or linger, which may have called f, would be woken to call it again
				s.wake()
			}
		}()
		defer close(done)
		defer over()
		s.contain(what, f)
	}()
	return done
}

// running notes that something of the program's is called, until over is called.
func (s *Server) running(what string) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.running == nil {
		s.faults.running = make(map[*string]struct{})
	}
	s.faults.running[&what] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.faults.running, &what)
	}
}

// within reports whether c is closed within a time.
func within(d time.Duration, c <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
	}
	select {
	case <-c: // both
		return true
	default:
		return false
	}
}

// briefly calls f apart and returns what it does, or the zero value if it has not
// returned after a while, or has failed oddly. One that hangs may do so for thousands of
// connections in turn: each has half of the time of the one before, so that together
// they have no more than a Close.
func briefly[T any](s *Server, what string, f func() T) (v T, hangs bool) {
	var got T
	done := s.apart(what, func() { got = f() })
	if within(s.patience/2>>min(s.hung.Load(), 62), done) {
		return got, false
	}
	s.hung.Add(1)
	return v, true
}

// plain reports whether c is of a type of which it is known what its Close does.
func plain(c io.Closer) bool {
	switch c.(type) {
	case *ownListener, *net.TCPListener, *net.UnixListener, *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// awaitCloses waits for what was closed and has not returned, until the cut, or until
// the deadline after it, and returns a line for each that still has not.
func (s *Server) awaitCloses(patient, ctx context.Context) []string {
	if patient.Err() == nil {
		ctx = patient
	}
	lines := s.hanging()
	for ; len(lines) > 0 && ctx.Err() == nil; lines = s.hanging() {
		s.wait(ctx, time.Time{}, true)
	}
	return lines
}

func (s *Server) hanging() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { slices.Sort(lines) }()
	for what := range s.faults.running {
		lines = append(lines, *what+", which has not returned")
	}
	return lines
}

// faulty joins err and what was done wrong.
func (s *Server) faulty(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults.errs) == 0 {
		return err
	}
	all := append([]error{err}, s.faults.errs...)
	if s.faults.more > 0 {
		all = append(all, fmt.Errorf("drain: and %d more", s.faults.more))
	}
	return errors.Join(all...)
}

// given returns the connection as the listener has accepted it.
func (c *conn) given() net.Conn {
	if p, ok := c.Conn.(*peerConn); ok {
		return p.Conn
	}
	return c.Conn
}

// contain is the server's, for a method of the connection that was accepted.
func (c *conn) contain(method string, f func()) (returned bool) {
	if plain(c.given()) {
		f()
		return true
	}
	return c.srv.contain(c.name(method), f)
}

// briefly calls a method of the connection that was accepted, and reports whether it has
// returned, or hangs.
func (c *conn) briefly(method string, f func()) (returned, hangs bool) {
	if plain(c.given()) {
		f()
		return true, false
	}
	return briefly(c.srv, c.name(method), func() bool { f(); return true })
}

// noted calls a method of the connection that was accepted, so that it is named if it
// hangs.
func (c *conn) noted(method string, f func()) {
	if nc := c.given(); c.srv.in() != serving && !plain(nc) {
		defer c.srv.running(c.name(method))()
	}
	f()
}

// name names a method of the connection that was accepted.
func (c *conn) name(method string) string {
	return fmt.Sprintf("%s of the connection %T", method, c.given())
}

// unsent returns how many bytes the peer has not yet acknowledged, as far as is known.
func (c *conn) unsent() (n int) {
	c.contain("NetConn", func() { n = sock.Unsent(c.Conn) })
	return n
}

// from returns where c comes from, or nil if the connection does not say.
func (c *conn) from() net.Addr {
	if plain(c.given()) {
		return c.RemoteAddr()
	}
	addr, _ := briefly(c.srv, c.name("RemoteAddr"), c.RemoteAddr)
	return addr
}
