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
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case <-closed:
		return err
	case <-timer.C:
		return errHangs
	}
}

// apart calls f in a goroutine of its own, and closes what it returns when f has
// returned. Drain waits for it at its end.
func (s *Server) apart(what string, f func()) <-chan struct{} {
	done := make(chan struct{})
	s.mu.Lock()
	if s.faults.running == nil {
		s.faults.running = make(map[*string]struct{})
	}
	s.faults.running[&what] = struct{}{}
	s.mu.Unlock()
	go func() {
		defer s.wake()
		defer close(done)
		defer func() {
			s.mu.Lock()
			delete(s.faults.running, &what)
			s.mu.Unlock()
		}()
		s.contain(what, f)
	}()
	return done
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
	return c.srv.contain(fmt.Sprintf("%s of the connection %T", method, c.given()), f)
}

// unsent returns how many bytes the peer has not yet acknowledged, as far as is known.
func (c *conn) unsent() (n int) {
	c.contain("NetConn", func() { n = sock.Unsent(c.Conn) })
	return n
}

// from returns where c comes from.
func (c *conn) from() (addr net.Addr) {
	c.contain("RemoteAddr", func() { addr = c.RemoteAddr() })
	return addr
}
