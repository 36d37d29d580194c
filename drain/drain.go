// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// DefaultCancel is how long before the deadline the contexts of requests
	// that still run are cancelled, or a quarter of the time if that is less.
	DefaultCancel = 3 * time.Second
	// DefaultCut is how long before the deadline connections are closed by
	// force, or a twentieth of the time if that is less.
	DefaultCut = 500 * time.Millisecond

	// sweepGap is the shortest time between two looks at all idle connections,
	// so that thousands of them cost tens of looks and not thousands.
	sweepGap = 20 * time.Millisecond
)

// Drain takes the server off the air and returns when no connection is left and
// no handler runs, or when ctx ends. It accepts new connections until the accept
// window ends, closes the listeners, waits for the connections, and calls
// [http.Server.Shutdown] last.
//
// The deadline of ctx is that of the drain: DefaultCancel before it the contexts
// of requests are cancelled with ErrCut as the cause, DefaultCut before it
// connections are closed. A ctx that is cancelled has what is left closed at
// once. Without a deadline and without cancellation Drain waits for ever.
//
// The error is nil when nothing was cut. Otherwise it wraps ErrCut and names
// what was cut, as the report does. A call after the first one waits for the
// first one's result, or returns its own context's error if that ends earlier.
// Drain without Serve returns at once.
func (s *Server) Drain(ctx context.Context) (Report, error) {
	s.setup()
	if s.first() {
		s.report, s.drainErr = s.run(ctx)
		close(s.drained)
	}
	select {
	case <-s.drained:
		return s.report, s.drainErr
	case <-ctx.Done():
	}
	select {
	case <-s.drained: // both: the result is worth more
		return s.report, s.drainErr
	default:
		return Report{}, ctx.Err()
	}
}

// first reports whether this is the first call of Drain.
func (s *Server) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.draining
	s.draining = true
	return first
}

// run is Drain, once: the story of a lame duck, a paragraph a phase.
func (s *Server) run(ctx context.Context) (Report, error) {
	var r Report
	idle := s.begin()
	limits := s.limits(ctx)
	patient, cancel := withDeadline(ctx, limits.cut)
	defer cancel()

	r.Quiet = s.acceptWindow(patient, idle, limits.window)
	s.closeListeners(patient)
	r.Window = time.Since(s.t0)

	s.linger(patient, limits.cancel)
	if !s.shutdown(patient) {
		r.Cut = s.cut(ctx)
	}
	s.cancelRequests(ErrCut)
	s.counters.fill(&r)
	r.Total = time.Since(s.t0)
	if len(r.Cut) > 0 {
		return r, fmt.Errorf("%w: %s", ErrCut, strings.Join(r.Cut, "; "))
	}
	return r, nil
}

// begin sets T0 and reports whether the server has no traffic at that moment.
func (s *Server) begin() (idle bool) {
	s.mu.Lock()
	s.t0 = time.Now()
	s.floor = or(s.Floor, EnvironmentFloor())
	s.enter(window)
	conns := s.snapshotLocked()
	s.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		busy := c.traffic && !c.closed
		c.mu.Unlock()
		if busy {
			return false
		}
	}
	return true
}

// limits are the times by which the parts of a drain have to end; zero: never.
type limits struct {
	window, cancel, cut time.Time
}

func (s *Server) limits(ctx context.Context) limits {
	var l limits
	longest := DefaultCap
	if deadline, ok := ctx.Deadline(); ok {
		given := max(deadline.Sub(s.t0), 0)
		longest = given / 2
		l.cancel = deadline.Add(-min(DefaultCancel, given/4))
		l.cut = deadline.Add(-min(DefaultCut, given/20))
		l.window = l.cancel
	}
	if s.Cap < 0 {
		return l
	}
	end := s.t0.Add(max(or(s.Cap, longest), s.floor))
	if l.window.IsZero() || end.Before(l.window) {
		l.window = end
	}
	return l
}

// withDeadline returns a context that also ends at t, unless t is zero.
func withDeadline(ctx context.Context, t time.Time) (context.Context, context.CancelFunc) {
	if t.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, t)
}

// acceptWindow waits until the floor has passed and it has been quiet, or until
// end, or until ctx is done, and reports whether it was quiet. A server that has
// no listener has nothing to wait for.
func (s *Server) acceptWindow(ctx context.Context, idle bool, end time.Time) bool {
	for s.listening() {
		now := time.Now()
		quietAt := s.quietAt(idle)
		if !now.Before(quietAt) {
			return true
		}
		if !end.IsZero() && !now.Before(end) {
			return false
		}
		s.wait(ctx, earlier(quietAt, end), false)
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

func (s *Server) listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners) > 0
}

// wait returns at t, unless t is zero, or when ctx is done, or, if events is
// set, when something has changed.
func (s *Server) wait(ctx context.Context, t time.Time, events bool) {
	var due <-chan time.Time
	if !t.IsZero() {
		timer := time.NewTimer(time.Until(t))
		defer timer.Stop()
		due = timer.C
	}
	changed := s.changed
	if !events {
		changed = nil
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
	}
}

// earlier returns the earlier of two times, of which a zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// quietAt returns when the accept window can end at the earliest, as far as is
// known now. On a server with traffic the quiet period cannot begin before T0:
// clients with open connections have had no reason to dial.
func (s *Server) quietAt(idle bool) time.Time {
	at := s.t0.Add(s.floor)
	quiet := or(s.Quiet, DefaultQuiet)
	if quiet == 0 {
		return at
	}
	if last := s.lastNew.Load(); last != 0 {
		at = later(at, s.epoch.Add(time.Duration(last)+quiet))
	}
	if !idle {
		at = later(at, s.t0.Add(quiet))
	}
	return at
}

// closeListeners closes every listener once its accept queue is empty.
func (s *Server) closeListeners(ctx context.Context) {
	s.mu.Lock()
	s.enter(closing)
	var all []*listener
	for l := range s.listeners {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		l.startClosing()
	}
	for _, l := range all {
		select {
		case <-l.closed:
		case <-ctx.Done():
			l.Listener.Close()
		}
	}
	s.closedAt = time.Now()
	close(s.windowClosed)
}

// linger waits until no connection is left that could bring a request, ending
// those that have been idle or silent for long enough. At cancelAt it cancels
// the contexts of the requests that still run, and ends what is idle, so that no
// request starts just before the end.
func (s *Server) linger(ctx context.Context, cancelAt time.Time) {
	late := false
	for {
		now := time.Now()
		if !cancelAt.IsZero() && !now.Before(cancelAt) {
			s.cancelRequests(ErrCut)
			late, cancelAt = true, time.Time{}
		}
		next, left := s.sweep(now, late)
		if left == 0 || ctx.Err() != nil {
			return
		}
		if !next.IsZero() && next.Sub(now) < sweepGap {
			next = now.Add(sweepGap)
		}
		s.wait(ctx, earlier(next, cancelAt), true)
	}
}

// sweep ends connections that are due, and returns when the next one can be and
// how many are left to wait for. HTTP/2 connections without a stream are not
// among them: Shutdown sends them their GOAWAY.
func (s *Server) sweep(now time.Time, late bool) (next time.Time, left int) {
	s.mu.Lock()
	conns := s.snapshotLocked()
	s.mu.Unlock()
	for _, c := range conns {
		if c.waitsForShutdown() {
			continue
		}
		left++
		next = earlier(next, c.sweep(now, late))
	}
	return next, left
}

// waitsForShutdown reports whether nothing happens on c but Shutdown's GOAWAY.
func (c *conn) waitsForShutdown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.http2 && c.state == stateIdle && len(c.inFlight) == 0
}

// cancelRequests cancels the contexts of all requests.
func (s *Server) cancelRequests(cause error) {
	s.mu.Lock()
	cancels := slices.Clone(s.cancels)
	s.mu.Unlock()
	for _, cancel := range cancels {
		cancel(cause)
	}
}

// cut closes what is left, and returns a line for each thing that was ended so.
// It then waits for handlers to notice, until ctx is done.
func (s *Server) cut(ctx context.Context) []string {
	s.mu.Lock()
	conns := s.snapshotLocked()
	s.mu.Unlock()
	s.enter(cutting)
	s.cancelRequests(ErrCut)
	var lines []string
	now := time.Now()
	for _, c := range conns {
		lines = append(lines, c.describe(s.t0, now)...)
	}
	slices.Sort(lines)
	for _, c := range conns {
		c.Close()
	}
	s.closeHTTP()
	for s.Open() > 0 {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return lines
		}
	}
	return lines
}

// describe returns a line for each piece of work that closing c would cut. A
// connection on which nothing happens yields none.
func (c *conn) describe(t0, now time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for _, r := range c.inFlight {
		lines = append(lines, r.describe(t0, now))
	}
	switch {
	case len(lines) > 0:
	case c.state == stateHijacked:
		lines = append(lines, fmt.Sprintf("hijacked connection from %v", c.RemoteAddr()))
	case c.reads.Load() != c.mark && !c.http2:
		lines = append(lines, fmt.Sprintf("unfinished request from %v", c.RemoteAddr()))
	}
	return lines
}

// shutdown lets net/http end its own books, and reports whether nothing is left.
// Of HTTP/1.1 nothing is, by now; HTTP/2 gets its GOAWAY.
func (s *Server) shutdown(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	return s.HTTP == nil || s.HTTP.Shutdown(ctx) == nil && s.Open() == 0
}

func (s *Server) closeHTTP() {
	if s.HTTP != nil {
		s.HTTP.Close()
	}
}

func (s *Server) snapshotLocked() []*conn {
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
