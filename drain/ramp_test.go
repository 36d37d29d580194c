// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// TestProbabilityOfConnectionCloseRises: in a straight line, from the call of Drain to a
// tenth of the floor.
func TestProbabilityOfConnectionCloseRises(t *testing.T) {
	const clients, floor = 400, 10 * time.Second
	for share, want := range map[float64]float64{0: 0, 0.01: 0.1, 0.05: 0.5, 0.09: 0.9, 0.1: 1, 0.5: 1} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: floor, Quiet: -1}, ok)
			var told atomic.Int32
			time.AfterFunc(time.Duration(share*float64(floor)), func() {
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						c := r.dial()
						if c.get("/").Close {
							told.Add(1)
						}
						c.Close()
					})
				}
				wg.Wait()
			})
			report, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.EqualValues(t, told.Load(), report.Told)
			// Six standard deviations, and none where there is no chance in it.
			delta := 60.0
			if want == 0 || want == 1 {
				delta = 0
			}
			assert.InDelta(t, want*clients, told.Load(), delta, "at %v of the floor", share)
		})
	}
}
