// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package load is HTTP/1.1 clients that never retry and that know what they have
// lost.
//
// They write to a socket of their own, because every ready-made client hides
// losses: net/http sends a GET again, curl a POST too. A connection that is found
// closed before a request is written is not a loss. Everything after the first
// byte written that is not a complete 2xx is one, and so is a dial that fails.
package load

import "time"

// A Kind is a way in which clients use connections.
type Kind struct {
	Name      string
	Method    string        // "GET", or "POST" with a small body
	Pace      time.Duration // mean think time between two requests, drawn from half of it to one and a half
	KeepAlive bool          // otherwise every request has a connection of its own
}

// Kinds returns the ways that differ in how they lose requests: busy connections
// meet a close while a request is under way, idle ones are closed before they
// are told, and new ones are refused.
func Kinds() []Kind {
	return []Kind{
		{Name: "POST, no think time", Method: "POST", KeepAlive: true},
		{Name: "POST, 20 ms", Method: "POST", Pace: 20 * time.Millisecond, KeepAlive: true},
		{Name: "POST, 300 ms", Method: "POST", Pace: 300 * time.Millisecond, KeepAlive: true},
		{Name: "POST, 2 s", Method: "POST", Pace: 2 * time.Second, KeepAlive: true},
		{Name: "GET, 20 ms", Method: "GET", Pace: 20 * time.Millisecond, KeepAlive: true},
		// Paced, because a closed connection keeps its port for a minute.
		{Name: "new connection, 10 ms", Method: "POST", Pace: 10 * time.Millisecond},
	}
}
