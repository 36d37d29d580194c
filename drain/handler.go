// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"math/rand/v2"
	"net/http"
	"strings"
)

// rampShare is the share of the floor after which every answer says
// "Connection: close". Before it the probability rises in a straight line, so
// that not all clients come back on a new connection at one instant.
//
// It is short because what is kept late is idle when the listener is closed, and
// closing an idle connection is the one thing that can lose a request. Eight
// terminations each of examples/chi under draintest, floor and propagation 2 s:
// with a share of 0.0001, 0.5 and 1 clients dialled 71, 64 and 62 times for each
// termination, and the exit took 2.94, 3.00 and 3.20 s at worst.
const rampShare = 0.1

// A handler keeps the books around the caller's handler. It does not wrap the
// ResponseWriter, so all its optional interfaces stay as they are; only those of
// probes are wrapped, if FailureThreshold asks for what they are told, and one of each
// connection of HTTP/2, see goingWriter.
type handler struct {
	srv  *Server
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.srv
	c := connOf(r.Context())
	if c == nil { // not accepted by one of our listeners
		h.next.ServeHTTP(w, r)
		return
	}
	if s.in() == serving && c.is(traffic) && s.FailureThreshold <= 0 { // nothing to be learnt from it
		id := c.begin(r)
		defer c.end(r, id)
		h.next.ServeHTTP(w, r)
		return
	}
	probe := s.isProbe(r)
	id := c.begin(r)
	defer c.end(r, id)
	first := !probe && !c.set(traffic)
	if first {
		s.lastNew.Store(s.clock())
	}
	if p := s.in(); p != serving {
		s.counters.served(p, first, probe)
		if s.tellsToGo(c, r) {
			w.Header().Set("Connection", "close")
			c.tell(true)
			defer func() {
				if w.Header().Get("Connection") != "close" { // the handler has had its own way
					c.tell(false)
				}
			}()
			if r.ProtoMajor == 2 {
				w = goingWriter{w}
			}
		}
	}
	if probe && s.FailureThreshold > 0 && !upgrades(r) {
		s.observe(w, r, h.next)
		return
	}
	h.next.ServeHTTP(w, r)
}

// tellsToGo reports whether the answer to r is to say that the connection will
// not be reused.
func (s *Server) tellsToGo(c *conn, r *http.Request) bool {
	if !s.has(closeHeader) || upgrades(r) {
		return false // the answer's Connection header is the protocol's own
	}
	if r.ProtoMajor == 2 { // it makes net/http send its GOAWAY
		return c.mayGoAway()
	}
	if s.in() >= closing {
		return true
	}
	return rand.Float64()*rampShare*float64(s.floor) < float64(s.clock()-s.t0)
}

// upgrades reports whether r asks to leave HTTP, as for a WebSocket. An offer of
// h2c does not count: net/http does not take it, but clients make it on every
// request (RFC 9113, section 3.1).
func upgrades(r *http.Request) bool {
	return listHas(r.Header["Upgrade"], func(protocol string) bool { return !strings.EqualFold(protocol, "h2c") }) &&
		listHas(r.Header["Connection"], func(option string) bool { return strings.EqualFold(option, "upgrade") })
}

// listHas reports whether one of the elements of a header's comma-separated lists
// is as wanted (RFC 9110, section 5.6.1).
func listHas(values []string, wanted func(string) bool) bool {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if element = strings.Trim(element, " \t"); element != "" && wanted(element) {
				return true
			}
		}
	}
	return false
}

func (s *Server) isProbe(r *http.Request) bool {
	if s.IsProbe != nil {
		return s.IsProbe(r)
	}
	return IsProbe(r)
}
