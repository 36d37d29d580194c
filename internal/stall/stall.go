// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package stall tells tests for how long their process has not run, on a machine that is
// busy or stands still: what a clock says then is not what the code under test has taken.
package stall

import "time"

const tick = 20 * time.Millisecond

// Watch begins to watch, and returns a function that ends it, and returns by how much this
// process was late at most. It is to be called once.
func Watch() (longest func() time.Duration) {
	done, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var late time.Duration
		for {
			t0 := time.Now()
			select {
			case <-time.After(tick):
				late = max(late, time.Since(t0)-tick)
			case <-done:
				worst <- max(late, time.Since(t0)-tick)
				return
			}
		}
	}()
	return func() time.Duration {
		close(done)
		return <-worst
	}
}
