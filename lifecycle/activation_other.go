// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build !unix

package lifecycle

import (
	"context"
	"errors"
	"net"
)

// Activated returns a function for [Component.Listen] that takes over the listening
// socket that systemd has opened under that name. There is no systemd here.
func Activated(name string) func(context.Context) (net.Listener, error) {
	return func(context.Context) (net.Listener, error) {
		return nil, errors.New("lifecycle: systemd passes no sockets on this system")
	}
}
