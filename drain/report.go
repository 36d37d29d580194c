// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// A Report says what happened between the call of Drain and its end.
type Report struct {
	Window      time.Duration // until the listeners were closed
	Total       time.Duration // until nothing was left
	Quiet       bool          // the accept window ended because it was quiet, not by the cap
	Connections int64         // new connections that brought traffic
	Requests    int64         // requests begun, probes not counted
	Told        int64         // answers that said "Connection: close"
	Idle        int64         // connections closed because they were idle
	Silent      int64         // connections closed that had never brought a request
	Cut         []string      // what was ended by force, one line each
}

// LogValue groups the report's values for a log line.
func (r Report) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Duration("window", r.Window),
		slog.Duration("total", r.Total),
		slog.Bool("quiet", r.Quiet),
		slog.Int64("connections", r.Connections),
		slog.Int64("requests", r.Requests),
		slog.Int64("told", r.Told),
		slog.Int64("idle", r.Idle),
		slog.Int64("silent", r.Silent),
		slog.Int("cut", len(r.Cut)),
	)
}

// counters are a report's numbers while the drain goes on.
type counters struct {
	connections, requests, told, idle, silent atomic.Int64
}

func (s *Server) count(first, probe bool) {
	if first {
		s.counters.connections.Add(1)
	}
	if !probe {
		s.counters.requests.Add(1)
	}
}

// ended counts a connection that was closed because it was idle or silent.
func (c *counters) ended(idle bool) {
	if idle {
		c.idle.Add(1)
	} else {
		c.silent.Add(1)
	}
}

func (c *counters) fill(r *Report) {
	r.Connections = c.connections.Load()
	r.Requests = c.requests.Load()
	r.Told = c.told.Load()
	r.Idle = c.idle.Load()
	r.Silent = c.silent.Load()
}

// describe names a request for the report.
func (r request) describe(t0, now time.Time) string {
	if r.start.IsZero() {
		return fmt.Sprintf("%s %s (running for more than %v)", r.method, r.path, now.Sub(t0).Round(time.Millisecond))
	}
	return fmt.Sprintf("%s %s (running for %v)", r.method, r.path, now.Sub(r.start).Round(time.Millisecond))
}
