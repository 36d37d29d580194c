// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package drain_test

import (
	"syscall"
	"time"
)

// cpuTime returns how long this process has computed.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
