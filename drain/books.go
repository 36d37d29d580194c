// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"crypto/tls"
	"net"
)

// Stats are what a server has open at one moment, for metrics.
type Stats struct {
	Open     int // connections; all but those that are just closing are one of the next four
	New      int // no request has been read yet
	Active   int // a request is being served
	Idle     int // kept alive, between two requests
	Hijacked int // taken over by a handler, as for a WebSocket
	InFlight int // requests whose handler has not returned
}

// Stats returns what is open now. It may be called at any time and looks at every
// connection, so its cost grows with their number; the requests' own path has no
// part in it.
func (s *Server) Stats() Stats {
	var n Stats
	for _, c := range s.snapshot() {
		n.add(c)
	}
	return n
}

func (n *Stats) add(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.Open++
	n.InFlight += len(c.runningLocked())
	switch c.stateLocked() {
	case stateNew:
		n.New++
	case stateActive:
		n.Active++
	case stateIdle:
		n.Idle++
	case stateHijacked:
		n.Hijacked++
	}
}

// track takes over a connection that was just accepted.
func (s *Server) track(nc net.Conn, tls bool) *conn {
	c := &conn{Conn: nc, srv: s, tls: tls, accepted: s.clock()}
	if s.GRPC != nil {
		c.set(ofGRPC)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	if c.next = s.last; c.next != nil {
		c.next.prev = c
	}
	s.last = c
	return c
}

// remove forgets a connection that is closed and on which no handler runs.
func (s *Server) remove(c *conn) {
	c.mu.Lock()
	h2 := c.http2 != nil
	c.mu.Unlock()
	if h2 {
		s.http2.Add(-1)
	}
	if s.unlink(c) <= int(s.http2.Load()) { // nothing is left, or only what Shutdown ends
		s.wake()
	}
}

// unlink takes c out of the list and returns how many are left.
func (s *Server) unlink(c *conn) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.last = c.next
	}
	c.next, c.prev = nil, nil
	return s.conns
}

// open returns how many connections are open, hijacked ones included.
func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

func (s *Server) snapshot() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, s.conns)
	for c := s.last; c != nil; c = c.next {
		conns = append(conns, c)
	}
	return conns
}

// wake makes a waiting Drain look again.
func (s *Server) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// tracked returns the server's own connection inside nc, or nil.
func tracked(nc net.Conn) *conn {
	switch nc := nc.(type) {
	case *conn:
		return nc
	case *http2Conn:
		return nc.conn
	case *tlsHTTP2Conn:
		return nc.conn
	case *tls.Conn:
		c, _ := nc.NetConn().(*conn)
		return c
	}
	return nil
}

// accepted returns nc as the caller's hooks are to see it.
func accepted(nc net.Conn) net.Conn {
	switch nc := nc.(type) {
	case *conn:
		return nc.Conn
	case *http2Conn:
		return nc.conn.Conn
	case *tlsHTTP2Conn:
		return nc.Conn
	}
	return nc
}
