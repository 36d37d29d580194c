// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// proberMemory is how long ago a prober may have asked last to be waited for.
	proberMemory = time.Minute
	// maxProbers bounds what is remembered of clients that look like probers.
	maxProbers = 256
	maxProber  = 512 // bytes
)

// Probers are who has asked for readiness, and what they have been told. The zero
// value is ready for use.
type probers struct {
	mu   sync.Mutex // guards what follows
	seen map[prober]*probing
}

// A prober is known by where it comes from, what it calls itself, and what it
// asks for.
type prober struct{ host, agent, path string }

// A probing is the story of one prober.
type probing struct {
	last   int64 // the clock when it last asked
	fails  int   // failing answers in a row since T0
	passed bool  // the last answer since T0 was another
}

// WatchProbes returns a handler that answers as h does and takes note of who is
// told what, for FailureThreshold. It is for probes that are served by another
// listener than the server's own; IsProbe tells them from what else h serves.
func (s *Server) WatchProbes(h http.Handler) http.Handler {
	s.setup()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.FailureThreshold > 0 && s.isProbe(r) {
			s.observe(w, r, h)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// observe has h answer a probe, and notes the answer.
func (s *Server) observe(w http.ResponseWriter, r *http.Request, h http.Handler) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	p := prober{host, r.UserAgent(), r.URL.Path}
	draining := s.in() != serving // the answer is about what was when it was asked for
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	h.ServeHTTP(sw, r)
	if strings.HasPrefix(p.agent, kubelet) || len(p.agent)+len(p.path) > maxProber {
		return
	}
	s.probers.note(p, s.clock(), draining, sw.status >= 400)
	s.wake()
}

// note takes note of an answer.
func (ps *probers) note(p prober, now int64, draining, failing bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	g := ps.seen[p]
	if g == nil {
		if len(ps.seen) >= maxProbers && !ps.forgetLocked(now) {
			return
		}
		if ps.seen == nil {
			ps.seen = make(map[prober]*probing)
		}
		g = new(probing)
		ps.seen[p] = g
	}
	g.last = now
	switch {
	case !draining:
	case failing:
		g.fails, g.passed = g.fails+1, false
	default:
		g.fails, g.passed = 0, true
	}
}

// forgetLocked makes room, and reports whether there is some.
func (ps *probers) forgetLocked(now int64) bool {
	for p, g := range ps.seen {
		if g.last+int64(proberMemory) <= now {
			delete(ps.seen, p)
		}
	}
	return len(ps.seen) < maxProbers
}

// waitUntil returns when nobody will have to be waited for any more if nobody asks
// again, or 0 if everybody has been told enough.
func (ps *probers) waitUntil(enough int) int64 {
	if enough <= 0 {
		return 0
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var until int64
	for _, g := range ps.seen {
		if !g.passed && g.fails < enough {
			until = max(until, g.last+int64(proberMemory))
		}
	}
	return until
}

// A statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote && status >= 200 {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Flush and Unwrap keep what the ResponseWriter can do.
func (w *statusWriter) Flush()                      { http.NewResponseController(w.ResponseWriter).Flush() }
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
