// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// Idle connections are not all ended at one instant, with all their clients back at
// another replica at the next.
func TestIdleConnectionsEndOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, linger, look = 50, 10 * time.Second, 50 * time.Millisecond
		r := start(t, &drain.Server{Floor: time.Second, Quiet: -1, Linger: linger}, ok)
		closed := make(chan time.Duration, n)
		t0 := time.Now().Add(time.Hour)
		for range n {
			c := r.dial()
			c.get("/")
			time.Sleep(1237 * time.Microsecond) // they come at any time of a millisecond
			go func() { closed <- c.waitClosed(t0) }()
		}
		time.Sleep(time.Until(t0))
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, n, report.Idle)
		first, last := linger, time.Duration(0)
		for range n {
			after := <-closed
			first, last = min(first, after), max(last, after)
		}
		assert.GreaterOrEqual(t, first, linger*4/5)
		assert.LessOrEqual(t, last, linger+look)
		assert.Greater(t, last-first, linger/10, "they are spread over a fifth")
	})
}
