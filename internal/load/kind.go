// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package load is HTTP clients that never retry and that know what they have
// lost.
//
// Those of HTTP/1.1 write to a socket of their own, and those of HTTP/2 hold each
// connection themselves, because every ready-made client hides losses: net/http
// sends a GET again, curl a POST too. A connection that is found closed, or told
// to go, before a request is written is not a loss. Everything after the first
// byte written that is not a complete 2xx is one, and so is a dial that fails.
package load

import (
	"cmp"
	"net/http"
	"time"
)

// A Kind is a way in which a client uses connections.
type Kind struct {
	Name    string
	Method  string // empty: POST; all but GET and HEAD have a small body
	NewConn bool   // every request has a connection of its own; otherwise it is kept

	// Proto is what is spoken, by its ALPN name: "h2" over TLS, whatever the
	// certificate; "h2c" in the clear, by prior knowledge; empty: HTTP/1.1.
	Proto string

	// Streams and Streaming are for HTTP/2.
	Streams   int  // how many requests a client has under way at once; zero: one
	Streaming bool // the body is written in pieces, while the answer is read

	// The think time, between an answer and the next request, is drawn from
	// MinThink to MaxThink.
	MinThink, MaxThink time.Duration
}

func (k Kind) method() string { return cmp.Or(k.Method, http.MethodPost) }

func (k Kind) hasBody() bool {
	m := k.method()
	return m != http.MethodGet && m != http.MethodHead
}
