// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import "time"

const (
	// minLinger is how long every idle connection is kept after the listener is
	// closed, however long it has been idle before: more of those that speak once
	// in a few seconds get to be told.
	minLinger = 300 * time.Millisecond

	// halfRequest is for how long a client may take over the rest of a request's
	// header, or of a handshake, once the listener is closed. It is what net/http
	// gives a new connection in Shutdown.
	halfRequest = 5 * time.Second

	// sweepDelay is for how long after Drain's call no connection is ended: what has
	// been read before, which only begin notes, has got there by then.
	sweepDelay = 5 * time.Millisecond

	// forever is long, and still adds to a reading of the clock without overflow.
	forever = 1 << 61
)

// sweep ends connections that are due, and returns when the next one can be and
// how many are left to wait for. HTTP/2 connections without a stream are not
// among them: Shutdown sends them their GOAWAY.
func (s *Server) sweep(now int64, late bool) (next time.Time, left int) {
	for _, c := range s.snapshot() {
		if c.waitsForShutdown(late) {
			continue
		}
		left++
		if due := c.sweep(now, late); due != 0 {
			next = earlier(next, s.at(due))
		}
	}
	return next, left
}

// waitsForShutdown reports whether nothing happens on c but Shutdown's GOAWAY. When it
// is late that is not put off for a client that does not confirm that it was told.
func (c *conn) waitsForShutdown(late bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(ofGRPC) {
		return c.leftToGracefulStopLocked(late)
	}
	h := c.http2
	return h != nil && h.idle && len(h.streams) == 0 && (late || h.goneLocked())
}

// sweep ends c when it has been idle or silent for long enough, or, when it is
// late, as soon as nothing is under way on it. It returns when it wants to be
// called again at the latest, or 0 when only an event can bring that about.
func (c *conn) sweep(now int64, late bool) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.stateLocked()
	if c.http2 != nil || state != stateIdle && state != stateNew {
		return 0
	}
	reads := c.reads.Load()
	if c.seenAt == 0 || reads != c.seen {
		c.seen, c.seenAt = reads, now
	}
	more := reads != c.mark() // once, and so the same below: more may come in meanwhile
	if more && c.half == 0 {
		c.half = uint32((now-c.srv.t0)/int64(time.Millisecond)) + 1
	}
	var due int64
	switch {
	case more && !c.handshakesLocked() && c.srv.has(byteCheck):
		due = c.halfDueLocked()
	case late:
		due = c.srv.t0 + int64(sweepDelay)
	case state == stateIdle:
		due = c.idleDueLocked()
	default:
		due = c.silentDueLocked()
	}
	if still := c.srv.stoodStill; still != 0 && !late {
		due = max(due, still+int64(minLinger)) // what its client was about to send comes now
	}
	if due > now {
		return due
	}
	c.expireLocked(c.seen)
	return now // until Read has noticed, or, if bytes have come in just now, again
}

// unfinishedLocked reports whether bytes have come in since c fell idle or was
// accepted: those of a request, unless they belong to the handshake of TLS.
func (c *conn) unfinishedLocked() bool {
	return c.reads.Load() != c.mark() && !c.handshakesLocked()
}

// handshakesLocked reports whether what comes in may be the handshake of TLS.
func (c *conn) handshakesLocked() bool { return c.tls && c.lastID == 0 }

// idleDueLocked returns when an idle connection is to be ended. The time is
// shortened by up to a fifth, by the last digits of the time of its accept, so that
// clients do not come back at one instant. One that has only brought probes has no
// client that would be surprised.
func (c *conn) idleDueLocked() int64 {
	linger := int64(or(c.srv.Linger, DefaultLinger))
	if linger == 0 || !c.is(traffic) {
		return max(c.srv.closedAt, c.srv.t0+int64(sweepDelay))
	}
	const digits = 1e6
	short := int64(float64(linger) / 5 * float64(c.accepted%digits) / digits)
	return max(max(c.since, c.srv.t0)+linger-short, c.srv.closedAt+int64(minLinger))
}

// silentDueLocked returns when a connection without a request is to be ended. In
// TLS the bytes of the handshake are no request; the wait starts afresh with each
// look that finds new ones, until it has taken too long.
func (c *conn) silentDueLocked() int64 {
	silent := int64(or(c.srv.Silent, DefaultSilent))
	if c.seen == 0 {
		return c.accepted + silent
	}
	return min(c.seenAt+silent, c.halfDueLocked())
}

// halfDueLocked returns when what is not complete has taken too long.
func (c *conn) halfDueLocked() int64 {
	return c.srv.t0 + int64(time.Duration(c.half-1)*time.Millisecond+halfRequest)
}
