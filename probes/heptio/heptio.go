// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package heptio connects github.com/heptiolabs/healthcheck, both ways: its
// checks run in a [probes.Registry], and its Handler is served by one. It is a
// package of its own because importing healthcheck links the Prometheus client.
//
// To leave the archived library, change one line: healthcheck.NewHandler() becomes
// NewHandler(nil). What it answers stays the same to the byte, headers included.
//
// Checks then run in the background, never in a request, and in one goroutine
// each at most, so healthcheck's Timeout and Async are not needed around them.
//
// # What differs
//
// What differs from healthcheck's own Handler, each on purpose: HEAD is answered
// as GET is, without a body. A check that hangs or panics fails and holds nobody
// up. If a liveness and a readiness check share a name, ?full=1 shows the one that
// fails. What ?full=1 says is what the last run has said; and a registry that has
// a reason of its own not to be ready, such as its shutdown, is an entry named
// readiness or liveness there.
//
// # What a stranger learns
//
// As with healthcheck, ?full=1 shows the errors of the checks to whoever asks:
// serve it where only those can ask who may know them.
package heptio

import (
	"context"

	"github.com/heptiolabs/healthcheck"
)

// Check makes a check of healthcheck one for the Func of a [probes.Check]. Theirs
// takes no context, so it goes on after its timeout until it returns by itself;
// until then it is failing, and not run a second time. Nil stays nil, which a
// registry refuses.
func Check(c healthcheck.Check) func(context.Context) error {
	if c == nil {
		return nil
	}
	return func(context.Context) error { return c() }
}
