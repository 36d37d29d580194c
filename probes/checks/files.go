// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"fmt"
	"os"
)

// File passes when there is something at path, of whatever kind: a file, a
// directory, or what a link leads to. Nothing there, or no permission to see it,
// is an error.
//
// A file system that hangs, as a network's may, holds the check beyond its
// context; the same goes for DiskFree and Certificate.
func File(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := os.Stat(path)
		return err
	}
}

// DiskFree passes when at least min bytes are free on the file system that holds
// path, for a user without privileges. Less is an error, and so is a path that
// does not exist. Free inodes are not counted. It is there for Linux, macOS,
// FreeBSD and Windows, and an error that wraps [errors.ErrUnsupported] elsewhere.
func DiskFree(path string, min uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		free, err := diskFree(path)
		if err != nil {
			return &os.PathError{Op: "disk free", Path: path, Err: err}
		}
		if free < min {
			return fmt.Errorf("disk free %s: %s, fewer than %s", path, size(free), size(min))
		}
		return nil
	}
}

// size writes a number of bytes for people.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/(1<<10), 0
	for ; f >= 1<<10; i++ {
		f /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
