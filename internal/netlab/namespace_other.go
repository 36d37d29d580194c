// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build !linux

package netlab

import (
	"fmt"
	"io"
	"net/netip"
	"runtime"
)

// A namespace is what no system but Linux has.
type namespace struct{}

func newNamespace() (*namespace, error) {
	return nil, fmt.Errorf("%w: this is %s", errUnavailable, runtime.GOOS)
}

func (*namespace) openTUN(netip.Prefix) (io.ReadWriteCloser, error) { panic("unreachable") }

func (*namespace) do(func() error) error { panic("unreachable") }

func (*namespace) close() {}
