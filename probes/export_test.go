// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

// What Exec does, for tests of more than a process can be started for.
type Exit = exit

const (
	Success = success
	Failure = failure
	Unasked = unasked
)

var Ask = ask
