// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package sock

import "syscall"

func peek(fd uintptr) State {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK:
			return Empty
		case err != nil || n == 0:
			return Closed
		default:
			return Data
		}
	}
}
