// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// named is how many of the things that were cut an error names.
const named = 10

// cancelRequests cancels the contexts of all requests and calls.
func (s *Server) cancelRequests() {
	s.mu.Lock()
	cancels := slices.Clone(s.cancels)
	s.mu.Unlock()
	for _, cancel := range cancels {
		cancel(ErrCut)
	}
	if s.GRPC != nil {
		s.cancelCalls()
	}
}

// cancelLate cancels the contexts of the requests that run shortly before the
// deadline.
func (s *Server) cancelLate() {
	s.counters.cancelled.Store(int64(s.Stats().InFlight))
	s.cancelRequests()
}

// cut closes what is left, and returns a line for each thing that was ended so. It
// then waits for handlers to notice, until ctx is done. All is named before any of it
// is told: a handler that reacts at once was still cut.
func (s *Server) cut(ctx context.Context) []string {
	conns := s.snapshot()
	s.enter(cutting)
	var lines []string
	now := s.clock()
	for _, c := range conns {
		lines = append(lines, c.describe(now)...)
	}
	if len(lines) == 0 && s.hangsInGRPC() {
		lines = []string{"GracefulStop, which has not returned"}
	}
	slices.Sort(lines)
	s.cancelRequests()
	var closing sync.WaitGroup
	for _, c := range conns {
		closing.Go(func() { c.Close() })
	}
	closing.Wait() // not for what hangs
	if s.GRPC != nil {
		s.stopGRPC(ctx)
	} else {
		s.closeHTTP()
	}
	for s.open() > 0 && ctx.Err() == nil {
		s.wait(ctx, time.Time{}, true)
	}
	return lines
}

// cutError returns an error that names what was cut, or nil if nothing was.
func cutError(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	text := strings.Join(lines[:min(len(lines), named)], "; ")
	if more := len(lines) - named; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return fmt.Errorf("%w: %s", ErrCut, text)
}

// describe returns a line for each piece of work that closing c would cut. A
// connection on which nothing happens yields none.
func (c *conn) describe(now int64) []string {
	c.mu.Lock()
	requests, hijacked := c.runningLocked(), c.stateLocked() == stateHijacked
	unfinished := c.stateLocked() != stateClosed && c.halfARequestLocked()
	untaken := c.http2 != nil && c.untakenLocked()
	c.mu.Unlock()
	var lines []string
	for _, r := range requests {
		lines = append(lines, c.srv.describe(r, now))
	}
	switch {
	case c.callsUnknown():
		return []string{fmt.Sprintf("gRPC connection from %v", c.from())}
	case hijacked:
		c.srv.counters.hijackedCut.Add(1)
		return []string{strings.Join(append([]string{fmt.Sprintf("hijacked connection from %v", c.from())}, lines...), ", ")}
	case len(lines) == 0 && unfinished:
		return []string{fmt.Sprintf("unfinished request from %v", c.from())}
	case len(lines) == 0 && untaken:
		return []string{fmt.Sprintf("rest of an answer to %v", c.from())}
	}
	return lines
}

// halfARequestLocked reports whether c has brought the beginning of a request.
func (c *conn) halfARequestLocked() bool {
	if h := c.http2; h != nil {
		return h.conn != nil && h.conn.half.Load()
	}
	return c.unfinishedLocked()
}

// closeHTTP has net/http close what it knows, without waiting: like Shutdown it
// waits first for every Serve to return, and a listener may not let it. The
// goroutine ends when the last Serve does.
func (s *Server) closeHTTP() {
	if s.HTTP != nil {
		go func() {
			if !s.shutdownBegun { // it is for the functions of RegisterOnShutdown
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				s.contain("Shutdown of the http.Server", func() { s.HTTP.Shutdown(ctx) })
			}
			s.contain("Close of the http.Server", func() { s.HTTP.Close() })
		}()
	}
}

// describe names a request for the report.
func (s *Server) describe(r request, now int64) string {
	// Escaped, as it came: a client must not write lines of the report.
	what, age, more := r.method+" "+(&url.URL{Path: r.path}).EscapedPath(), now-r.start, ""
	if r.start == 0 {
		age, more = now-s.t0, "more than "
	}
	if s.route != nil {
		pattern, _ := briefly(s, "Route", func() string {
			return s.route(&http.Request{Method: r.method, URL: &url.URL{Path: r.path}})
		})
		if pattern != "" && pattern != r.path {
			what += " by route " + pattern
		}
	}
	return fmt.Sprintf("%s (running for %s%v)", what, more, time.Duration(age).Round(time.Millisecond))
}
