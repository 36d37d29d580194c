// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/internal/drains"
)

const (
	// CancelMargin is how long before the deadline the contexts of requests
	// that still run are cancelled, or a quarter of the time if that is less.
	CancelMargin = 3 * time.Second
	// cutMargin is how long before the deadline connections are closed by
	// force, or a twentieth of the time if that is less.
	cutMargin = 500 * time.Millisecond

	// sweepGap is the shortest time between two looks at all idle connections that
	// time alone brings about, so that thousands of them cost tens of looks and not
	// thousands. An event brings one about at once.
	sweepGap = 20 * time.Millisecond

	// closeMax bounds the closing of the listeners. It is more than the second for
	// which net/http may pause after an error of Accept.
	closeMax = 1500 * time.Millisecond
)

// Drain takes the server off the air and returns when no connection is left and
// no handler runs, or when ctx ends. It accepts new connections until the accept
// window ends, closes the listeners, waits for the connections, and calls
// [http.Server.Shutdown] last. With GRPC it does not wait before GracefulStop for clients
// that have been told, and calls Stop where connections are closed by force.
//
// The deadline of ctx is that of the drain: CancelMargin before it the contexts
// of requests are cancelled with ErrCut as the cause, cutMargin before it
// connections are closed. A ctx that is cancelled has what is left closed at
// once. Without a deadline and without cancellation Drain waits for ever.
//
// The error is nil when nothing was cut. Otherwise it wraps ErrCut and names
// what was cut, ten things at most; the report has them all. A Close of the program's
// own listener or connection that has not returned counts as cut and is named by the
// type, and holds Drain no longer than its deadline. So does a listener's SetDeadline, a
// connection's SetReadDeadline or RemoteAddr, or Route. A panic in one, in another of their
// methods that Drain calls, or in GRPC's GracefulStop or Stop is an error, too, and keeps
// nothing else from being closed. What hangs in another of their methods may keep the
// rest from being closed: Drain then returns a quarter of a second after its deadline
// all the same, with a report that lacks the times, and its own work is left running.
// A call after the first one waits for the first one's result, or returns its own
// context's error if that ends earlier. Drain without Serve returns at once.
func (s *Server) Drain(ctx context.Context) (Report, error) {
	s.setup()
	first := s.first()
	if first {
		go func() { s.settle(s.run(ctx)) }()
	}
	select {
	case <-s.drained:
		return s.report, s.drainErr
	case <-ctx.Done():
	}
	switch {
	case first && !within(patience, s.drained): // the run ends at its deadline, unless it hangs
		s.settle(s.leaveBehind())
	case !first && !within(0, s.drained): // both: the result is worth more
		return Report{}, ctx.Err()
	}
	<-s.drained
	return s.report, s.drainErr
}

// settle makes the result that of Drain, unless there is one.
func (s *Server) settle(r Report, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.drained:
	default:
		s.report, s.drainErr = r, err
		close(s.drained)
	}
}

// leaveBehind returns what there is to say of a run that hangs in something of the
// program's, under a lock perhaps, and is left to itself.
func (s *Server) leaveBehind() (Report, error) {
	if s.GRPC == nil { // which takes the locks of its connections
		s.cancelRequests()
	}
	var r Report
	s.counters.fill(&r)
	if r.Cut = s.hanging(); len(r.Cut) == 0 {
		r.Cut = []string{"something that Drain has called, which has not returned"}
	}
	return r, s.faulty(cutError(r.Cut))
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
func (s *Server) run(ctx context.Context) (r Report, _ error) {
	limits := s.limits(ctx)
	idle := s.begin()
	patient, cancel := withDeadline(ctx, limits.cut)
	defer cancel()
	took := stopwatch(s.at(s.t0))

	r.Quiet = s.acceptWindow(patient, idle, limits.window)
	r.Accept.Took = took()

	s.enter(closing)
	s.closeListeners(patient, idle)
	r.Close.Took = took()

	s.enter(lingering)
	s.noticeNewcomers()
	s.linger(patient, limits.cancel)
	r.Linger.Took = took()

	s.enter(ending)
	if !s.shutdown(patient, limits.cancel) {
		r.Cut = s.cut(ctx)
	}
	s.cancelRequests()
	r.Cut = append(r.Cut, s.awaitCloses(patient, ctx)...)
	r.End.Took = took()

	s.counters.fill(&r)
	return r, s.faulty(cutError(r.Cut))
}

// stopwatch returns a function that returns the time since the last call.
func stopwatch(last time.Time) func() time.Duration {
	return func() time.Duration {
		now := time.Now()
		d := now.Sub(last)
		last = now
		return d
	}
}

// limits are the times by which the parts of a drain have to end; zero: never.
type limits struct {
	window, cancel, cut time.Time
}

// limits sets T0 and what counts from it.
func (s *Server) limits(ctx context.Context) limits {
	var l limits
	now := time.Now()
	s.t0 = int64(now.Sub(s.epoch))
	var given bool
	if s.floor, given = drains.Floor(ctx); !given {
		s.floor = or(s.Floor, defaultFloor())
	}
	s.quiet = or(s.Quiet, max(DefaultQuiet, s.floor/5*2))
	s.spread = or(s.Spread, s.floor)
	longest := DefaultCap
	s.patience = patience
	if deadline, ok := ctx.Deadline(); ok {
		given := max(deadline.Sub(now), 0)
		longest = given / 2
		s.patience = cmp.Or(min(patience, given/40), noTime)
		l.cancel = deadline.Add(-min(CancelMargin, given/4))
		l.cut = deadline.Add(-min(cutMargin, given/20))
		l.window = l.cancel
		s.spread = min(s.spread, given/2)
	}
	if s.Cap < 0 {
		return l
	}
	end := now.Add(max(or(s.Cap, longest), s.floor))
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

// begin opens the accept window and reports whether the server has no traffic at
// that moment.
func (s *Server) begin() (idle bool) {
	s.enter(window)
	idle = true
	for _, c := range s.snapshot() {
		c.tellToGo(s.spread)
		if c.busy() {
			idle = false
		}
	}
	return idle
}

// busy reports whether c is open and has ever brought traffic.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is(traffic) && !c.closed
}

// closeListeners closes every listener once its accept queue is empty: first they
// all begin, then all are waited for. A server that was idle and has no floor has
// no balancer in front of it whose handshakes could be under way, but perhaps a
// person at a terminal who waits.
func (s *Server) closeListeners(ctx context.Context, idle bool) {
	wait := handshakeWait
	if idle && s.floor == 0 {
		wait = 0
	}
	s.mu.Lock()
	var all []*listener
	for l := range s.listeners {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		l.startClosing(wait)
	}
	ctx, cancel := context.WithTimeout(ctx, wait+closeMax)
	defer cancel()
	var late sync.WaitGroup
	for _, l := range all {
		select {
		case <-l.closed:
		case <-ctx.Done():
			late.Go(func() { l.Close() })
		}
	}
	late.Wait() // not for what hangs
	s.closedAt = s.clock()
	close(s.windowClosed)
}

// linger waits until no connection is left that could bring a request, ending
// those that have been idle or silent for long enough. At cancelAt it cancels
// the contexts of the requests that still run, and ends what is idle, so that no
// request starts just before the end.
func (s *Server) linger(ctx context.Context, cancelAt time.Time) {
	if !s.has(lingerOn) {
		return
	}
	late := false
	for {
		now := time.Now()
		if !cancelAt.IsZero() && !now.Before(cancelAt) {
			s.cancelLate()
			late, cancelAt = true, time.Time{}
		}
		next, left := s.sweep(s.clock(), late)
		if left == 0 || ctx.Err() != nil {
			return
		}
		if !next.IsZero() && next.Sub(now) < sweepGap {
			next = now.Add(sweepGap)
		}
		s.watch(ctx, earlier(next, cancelAt), true)
	}
}

// shutdown lets net/http or GRPC end its own books, and reports whether nothing is left.
// Of HTTP/1.1 nothing is, by now; HTTP/2 gets its GOAWAY, and may have brought
// another request that still runs at cancelAt.
func (s *Server) shutdown(ctx context.Context, cancelAt time.Time) bool {
	if ctx.Err() != nil {
		return false
	}
	if s.HTTP == nil && s.GRPC == nil {
		return true
	}
	if now := time.Now(); now.Before(cancelAt) {
		late := time.AfterFunc(cancelAt.Sub(now), s.cancelLate)
		defer late.Stop()
	}
	if s.GRPC != nil {
		return s.gracefulStop(ctx)
	}
	// Shutdown looks at its books now and then; ours are up to date.
	polite, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	s.shutdownBegun = true
	go func() {
		defer close(done)
		s.contain("Shutdown of the http.Server", func() { s.HTTP.Shutdown(polite) })
	}()
	for s.open() > 0 && ctx.Err() == nil {
		s.wait(ctx, time.Time{}, true)
	}
	stop()
	select {
	case <-done:
	case <-ctx.Done(): // it waits first for every Serve to return
	}
	return s.open() == 0
}
