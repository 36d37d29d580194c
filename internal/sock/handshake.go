// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package sock

import "syscall"

// BlockHandshakes makes a listening TCP socket ignore the first segment of every
// new handshake from now on, for as long as the socket lives and in every process
// that holds it; handshakes that have begun come to their end. Thus its accept
// queue can only shrink. It reports false where the system or the socket knows no
// such filter.
func BlockHandshakes(l syscall.Conn) bool {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	blocked := false
	err = raw.Control(func(fd uintptr) { blocked = blockHandshakes(fd) })
	return err == nil && blocked
}
