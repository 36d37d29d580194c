// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Draining returns a channel that is closed when the connection that has brought
// a request is told to go, see [Server.Spread], or when it has ended by itself.
// The context is the request's, or the one that [Server.Call] has returned, or is derived
// from it, and may be done: what has hijacked a connection goes on using it. Of a context that does not come from a
// [Server] the channel is nil, so that waiting for it never ends.
//
// It is for work that does not end by itself, such as a WebSocket, a stream of
// server-sent events, or a long poll:
//
//	select {
//	case event := <-events:
//		send(event)
//	case <-drain.Draining(ctx):
//		return // the client comes back, to another server
//	}
func Draining(ctx context.Context) <-chan struct{} {
	c := connOf(ctx)
	if c == nil {
		return nil
	}
	return c.noticed().ctx.Done()
}

// LongLived returns a handler that calls h with a context that is cancelled, with
// [ErrDraining] as its cause, when the connection is told to go, see
// [Server.Spread]. It marks the routes whose requests do not end by themselves;
// those of other requests are cancelled shortly before the drain's deadline only.
// Under a server that is not a [Server] it does nothing.
func LongLived(h http.Handler) http.Handler {
	if h == nil {
		panic("drain: LongLived of a nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connOf(r.Context()) == nil {
			h.ServeHTTP(w, r)
			return
		}
		ctx, stop := NotifyContext(r.Context())
		defer stop()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// NotifyContext returns a context, derived from one that is the context of a request or
// call or is derived from that, which is cancelled, with [ErrDraining] as its cause, when
// the connection is told to go, see [Server.Spread], and a function that releases it and
// may be called more than once. It is what LongLived does, for a part of a handler, and
// for streams of [Server.GRPC].
func NotifyContext(ctx context.Context) (context.Context, context.CancelFunc) {
	derived, cancel := context.WithCancelCause(ctx)
	c := connOf(ctx)
	if c == nil {
		return derived, func() { cancel(nil) }
	}
	notice := c.noticed().ctx
	stop := context.AfterFunc(notice, func() { cancel(context.Cause(notice)) })
	return derived, func() {
		stop()
		cancel(nil)
	}
}

// A notice tells the handlers on one connection that it is time to go.
type notice struct {
	ctx    context.Context // its end is the message
	cancel context.CancelCauseFunc
	timer  *time.Timer // guarded by the connection's mu; nil before T0
}

// noticed returns the notice of a connection, and makes it at the first call.
func (c *conn) noticed() *notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notice == nil {
		n := new(notice)
		n.ctx, n.cancel = context.WithCancelCause(context.Background())
		c.notice = n
		switch in := c.srv.in(); {
		case c.closed:
			n.cancel(net.ErrClosed)
		case in >= lingering:
			c.giveNoticeLocked(c.srv.newcomersSpread())
		case in != serving && c.accepted <= c.srv.t0:
			c.giveNoticeLocked(c.srv.spread - time.Duration(c.srv.clock()-c.srv.t0))
		}
	}
	return c.notice
}

// noticeNewcomers settles when the handlers on connections that have come in the
// accept window are told. It is not done before, because a client that is told
// while balancers still send comes back here, again and again, and is the traffic
// that keeps the window open.
func (s *Server) noticeNewcomers() {
	for _, c := range s.snapshot() {
		c.tellToGo(s.newcomersSpread())
	}
}

func (s *Server) newcomersSpread() time.Duration { return min(s.spread, time.Second) }

// tellToGo has an HTTP/2 client told to go in the first half of a time, and the
// handlers on other connections in all of it.
func (c *conn) tellToGo(within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAwayLocked(within / 2)
	c.giveNoticeLocked(within)
}

// giveNoticeLocked has the handlers on c told within a time, if any of them has asked
// and nothing was settled before. Those of an HTTP/2 client wait until it knows that
// it is to go, and would come back on the same connection before.
func (c *conn) giveNoticeLocked(within time.Duration) {
	if c.http2 != nil && !c.mayGoAwayLocked() {
		return
	}
	if n := c.notice; n != nil && n.timer == nil && !c.closed {
		n.timer = time.AfterFunc(rand.N(max(within, 0)+1), func() { n.cancel(ErrDraining) })
	}
}

// endNoticeLocked is called when c has ended.
func (c *conn) endNoticeLocked() {
	if c.notice == nil {
		return
	}
	c.notice.cancel(net.ErrClosed)
	if c.notice.timer != nil {
		c.notice.timer.Stop()
	}
}
