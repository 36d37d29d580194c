// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// A Report says what happened between the call of Drain and its end.
type Report struct {
	Accept PhaseReport // the accept window, from Drain's call
	Close  PhaseReport // until the accept queues were empty and the listeners closed
	Linger PhaseReport // until no connection could bring a request any more
	End    PhaseReport // net/http's Shutdown or gRPC's GracefulStop, and the cut

	Quiet       bool     // the accept window ended because it was quiet, not by the cap
	Told        int64    // answers that said "Connection: close"
	GoAway      int64    // HTTP/2 clients that were told to go before any of their streams was refused
	GoAwayOnce  int64    // HTTP/2 clients that could only be told when streams were refused, or by GracefulStop
	Idle        int64    // connections closed because they were idle
	Silent      int64    // connections closed that had not begun a request
	Unfinished  int64    // connections closed because the rest of a request did not come
	Hijacked    int64    // hijacked connections that ended by themselves
	HijackedCut int64    // hijacked connections that had to be cut
	Cancelled   int64    // requests that ran when contexts were cancelled, hijacked ones included
	Cut         []string // what was ended by force, one line each
}

// A PhaseReport says how long a part of a drain has taken, and what came in it.
type PhaseReport struct {
	Took        time.Duration
	Connections int64 // new ones that brought traffic
	Requests    int64 // begun, probes not counted
}

// Total returns the sum of the phases.
func (r Report) Total() PhaseReport {
	var sum PhaseReport
	for _, p := range []PhaseReport{r.Accept, r.Close, r.Linger, r.End} {
		sum.Took += p.Took
		sum.Connections += p.Connections
		sum.Requests += p.Requests
	}
	return sum
}

// LogValue groups the report's values for a log line.
func (r Report) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("accept", r.Accept),
		slog.Any("close", r.Close),
		slog.Any("linger", r.Linger),
		slog.Any("end", r.End),
		slog.Bool("quiet", r.Quiet),
		slog.Int64("told", r.Told),
		slog.Int64("goaway", r.GoAway),
		slog.Int64("goaway_once", r.GoAwayOnce),
		slog.Int64("idle", r.Idle),
		slog.Int64("silent", r.Silent),
		slog.Int64("unfinished", r.Unfinished),
		slog.Int64("hijacked", r.Hijacked),
		slog.Int64("hijacked_cut", r.HijackedCut),
		slog.Int64("cancelled", r.Cancelled),
		slog.Int("cut", len(r.Cut)),
	)
}

// LogValue groups the report's values for a log line.
func (p PhaseReport) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("took", p.Took),
		slog.Int64("connections", p.Connections),
		slog.Int64("requests", p.Requests),
	)
}

// counters are a report's numbers while the drain goes on.
type counters struct {
	phases                [phases]struct{ connections, requests atomic.Int64 }
	told, idle            atomic.Int64
	goAway, goAwayOnce    atomic.Int64
	silent, unfinished    atomic.Int64
	hijacked, hijackedCut atomic.Int64
	cancelled             atomic.Int64
}

// served counts a request that begins in a phase.
func (c *counters) served(in phase, first, probe bool) {
	if first {
		c.phases[in].connections.Add(1)
	}
	if !probe {
		c.phases[in].requests.Add(1)
	}
}

// fill puts the numbers into the report, which has the times.
func (c *counters) fill(r *Report) {
	for in := window; in < phases; in++ {
		p := map[phase]*PhaseReport{window: &r.Accept, closing: &r.Close, lingering: &r.Linger, ending: &r.End, cutting: &r.End}[in]
		p.Connections += c.phases[in].connections.Load()
		p.Requests += c.phases[in].requests.Load()
	}
	r.Told = c.told.Load()
	r.GoAway = c.goAway.Load()
	r.GoAwayOnce = c.goAwayOnce.Load()
	r.Idle = c.idle.Load()
	r.Silent = c.silent.Load()
	r.Unfinished = c.unfinished.Load()
	r.Hijacked = c.hijacked.Load()
	r.HijackedCut = c.hijackedCut.Load()
	r.Cancelled = c.cancelled.Load()
}
