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
	// proberMemory is how long ago a prober may have asked last to be known still.
	proberMemory = time.Minute
	// proberPatience is how many of its intervals may pass until a prober is taken
	// to have gone: a probe may be lost, and the next one may be late.
	proberPatience = 3
	// maxProbers bounds what is remembered of clients that look like probers. To
	// look at so many, as one more newcomer makes it do, takes some 12 µs.
	maxProbers = 1024
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
	last     int64 // the clock when it was last answered
	interval int64 // the longest gap between its requests of late; 0: it has asked but once
	fails    int   // failing answers in a row since T0
	passed   bool  // the last answer since T0 was another
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
	if strings.HasPrefix(p.agent, kubelet) || len(p.host)+len(p.agent)+len(p.path) > maxProber {
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
		g = ps.addLocked(p, now)
	} else {
		g.asksAgain(now)
	}
	switch {
	case !draining:
	case failing:
		g.fails, g.passed = g.fails+1, false
	default:
		g.fails, g.passed = 0, true
	}
}

// asksAgain takes note of one more request, and of the gap before it. The longest
// gap of late counts, and fades, since short ones say little: of several probers
// that look like one, of one with jitter, or of one that tries again at once. An
// eighth is so little that even of eight that ask at the same instant the next
// requests are waited for.
func (g *probing) asksAgain(now int64) {
	if g.last+int64(proberMemory) <= now {
		*g = probing{last: now}
		return
	}
	g.interval = max(now-g.last, g.interval-g.interval/8)
	g.last = max(now, g.last) // answers may overtake each other
}

// until returns the clock when g will not be waited for any more if it does not
// ask again. That is at once for one that has asked but once: it may be a person.
func (g *probing) until() int64 {
	return g.last + min(proberPatience*g.interval, int64(proberMemory))
}

// addLocked begins the story of p. The copies let go of the request line, which
// may be a thousand times as long as the path in it.
func (ps *probers) addLocked(p prober, now int64) *probing {
	if len(ps.seen) >= maxProbers {
		ps.evictLocked(now)
	}
	if ps.seen == nil {
		ps.seen = make(map[prober]*probing)
	}
	g := &probing{last: now}
	ps.seen[prober{strings.Clone(p.host), strings.Clone(p.agent), strings.Clone(p.path)}] = g
	return g
}

// evictLocked forgets the one that asked longest ago, of those that would not be
// waited for if there are any. So whoever asks once under each of many names
// neither keeps a prober out for good nor pushes one out that asks regularly.
func (ps *probers) evictLocked(now int64) {
	var out prober
	var oldest *probing
	for p, g := range ps.seen {
		if oldest == nil || g.goesBefore(oldest, now) {
			out, oldest = p, g
		}
	}
	delete(ps.seen, out)
}

// goesBefore reports whether g is to be forgotten before o.
func (g *probing) goesBefore(o *probing, now int64) bool {
	if gone := g.until() <= now; gone != (o.until() <= now) {
		return gone
	}
	return g.last < o.last
}

// waitUntil returns when nobody will have to be waited for any more if nobody asks
// again, which may be past, or 0 if everybody has been told enough.
func (ps *probers) waitUntil(enough int) int64 {
	if enough <= 0 {
		return 0
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var until int64
	for _, g := range ps.seen {
		if g.interval > 0 && !g.passed && g.fails < enough {
			until = max(until, g.until())
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
