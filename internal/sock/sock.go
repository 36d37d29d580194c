// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package sock looks into a connection's socket without reading from it.
package sock

import (
	"net"
	"syscall"
)

// A State is what waits to be read on a socket.
type State int

// The states of a socket's receiving side.
const (
	Unknown State = iota // the connection cannot tell
	Empty                // nothing waits
	Data                 // bytes wait
	Closed               // the peer has closed or reset the connection
)

// Peek reports what waits to be read on c, without reading it and without
// blocking. It looks below connections that have a NetConn method, as those of
// TLS have. A connection that has no socket, or a system that has no such call,
// yields [Unknown].
func Peek(c net.Conn) State {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return Unknown
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Closed
	}
	state := Unknown
	if err := raw.Control(func(fd uintptr) { state = peek(fd) }); err != nil {
		return Closed
	}
	return state
}
