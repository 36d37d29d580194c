// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package sock looks into a connection's socket without reading from it or writing
// to it.
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
	state := Unknown
	if !control(c, func(fd uintptr) { state = peek(fd) }) {
		return Closed
	}
	return state
}

// Unsent returns how many bytes that were written to c the peer has not yet
// acknowledged, or 0 where that cannot be told.
func Unsent(c net.Conn) int {
	n := 0
	control(c, func(fd uintptr) { n = unsent(fd) })
	return n
}

// control calls f with the socket of c, if it has one, and reports false if that is
// closed.
func control(c net.Conn, f func(fd uintptr)) bool {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	return err == nil && raw.Control(f) == nil
}
