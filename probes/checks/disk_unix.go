// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux || darwin || freebsd

package checks

import "syscall"

// diskFree returns the bytes that are free for a user without privileges.
func diskFree(path string) (uint64, error) {
	var s syscall.Statfs_t
	for {
		switch err := syscall.Statfs(path, &s); err {
		case nil:
			// The types differ from system to system; a file system that is over
			// its reserve has a negative number on FreeBSD.
			return uint64(max(0, int64(s.Bavail))) * uint64(s.Bsize), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
