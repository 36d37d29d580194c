// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package drains lets package lifecycle drain a server of its program's without a
// change of that one's fields, which are the program's.
package drains

import (
	"context"
	"time"
)

// Serving returns a channel that is closed when a *drain.Server has a listener, so that
// Drain finds something to wait for. It is set by package drain.
var Serving func(server any) <-chan struct{}

// floorKey is the key of the floor in the context of a Drain.
type floorKey struct{}

// WithFloor returns a context for a Drain whose floor is d, which may be zero, whatever
// the server's own is.
func WithFloor(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, floorKey{}, d)
}

// Floor returns the floor of the context.
func Floor(ctx context.Context) (d time.Duration, ok bool) {
	d, ok = ctx.Value(floorKey{}).(time.Duration)
	return d, ok
}
