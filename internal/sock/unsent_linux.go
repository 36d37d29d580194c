// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package sock

import (
	"syscall"
	"unsafe"
)

// unsent asks by SIOCOUTQ (tcp(7)), which has the number of TIOCOUTQ.
func unsent(fd uintptr) int {
	var n int32
	if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); err != 0 {
		return 0
	}
	return int(n)
}
