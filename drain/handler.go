// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// rampShare is the share of the floor after which every answer says
// "Connection: close". Before it the probability rises in a straight line: told
// to go at T0, a client that is still routed here comes back on a new connection
// for every request.
const rampShare = 0.5

// A handler keeps the books around the caller's handler. It does not wrap the
// ResponseWriter, so all its optional interfaces stay as they are.
type handler struct {
	srv  *Server
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.srv
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil { // not accepted by one of our listeners
		h.next.ServeHTTP(w, r)
		return
	}
	probe := s.isProbe(r)
	id, first := c.begin(r, probe)
	defer c.end(id)
	if first {
		s.lastNew.Store(s.clock())
	}
	if s.in() != serving {
		s.count(first, probe)
		if s.tellsToGo(r) {
			w.Header().Set("Connection", "close")
			s.counters.told.Add(1)
		}
	}
	h.next.ServeHTTP(w, r)
}

// tellsToGo reports whether the answer to r is to say that the connection will
// not be reused.
func (s *Server) tellsToGo(r *http.Request) bool {
	if r.Header.Get("Upgrade") != "" {
		return false // the answer's Connection header is the protocol's own
	}
	if s.in() >= closing {
		return true
	}
	if r.ProtoMajor == 2 {
		return false // net/http's GOAWAY is final: not while streams still come
	}
	return rand.Float64()*rampShare*float64(s.floor) < float64(time.Since(s.t0))
}

func (s *Server) isProbe(r *http.Request) bool {
	if s.IsProbe != nil {
		return s.IsProbe(r)
	}
	return IsProbe(r)
}
