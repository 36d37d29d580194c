// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"net"
	"net/http"
)

// wrap puts the server's own functions around those of HTTP.
func (s *Server) wrap() {
	s.setup()
	h := s.HTTP
	if h == nil {
		return
	}
	next := h.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	s.route = s.Route
	if mux, ok := next.(*http.ServeMux); ok && s.route == nil {
		s.route = func(r *http.Request) string { _, pattern := mux.Handler(r); return pattern }
	}
	h.Handler = &handler{srv: s, next: next}
	h.ConnContext = s.connContext(h.ConnContext)
	h.ConnState = s.connState(h.ConnState)
	h.BaseContext = s.baseContext(h.BaseContext)
}

func (s *Server) connContext(next func(context.Context, net.Conn) context.Context) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, nc net.Conn) context.Context {
		if next != nil {
			ctx = next(ctx, accepted(nc))
		}
		c := tracked(nc)
		if c == nil {
			return ctx
		}
		c.ctx = ctx
		return (*connContext)(c)
	}
}

func (s *Server) connState(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(nc net.Conn, state http.ConnState) {
		if next != nil { // first: once the server knows of the last end, Drain returns
			next(accepted(nc), state)
		}
		if state == http.StateNew {
			return
		}
		c := tracked(nc)
		switch {
		case c == nil:
		case state == http.StateActive:
			c.active()
		case state == http.StateIdle:
			c.idle(nc)
		case state == http.StateHijacked:
			c.set(hijacked)
		case state == http.StateClosed:
			c.ended()
		}
	}
}

// baseContext makes the root of all request contexts one that can be cancelled
// with a cause, so that no request needs a context of its own for it.
func (s *Server) baseContext(next func(net.Listener) context.Context) func(net.Listener) context.Context {
	return func(l net.Listener) context.Context {
		if !s.wrapped {
			s.wrapped = true
			s.wrapHTTP2()
		}
		s.started()
		ctx := context.Background()
		if next != nil {
			if ours, ok := l.(*listener); ok {
				l = ours.given
			}
			ctx = next(l)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		s.mu.Lock()
		s.cancels = append(s.cancels, cancel)
		s.mu.Unlock()
		return ctx
	}
}
