// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// What is taken off an interval is at most the jitter, and anything up to it.
func TestJitter(t *testing.T) {
	for name, tt := range map[string]struct {
		check         probes.Check
		f             func(context.Context) error
		least, longer time.Duration
	}{
		"a tenth by default":     {probes.Check{Interval: 10 * time.Second}, pass, 9 * time.Second, 10 * time.Second},
		"none":                   {probes.Check{Interval: 10 * time.Second, Jitter: -1}, pass, 10 * time.Second, 10 * time.Second},
		"two fifths":             {probes.Check{Interval: 10 * time.Second, Jitter: 4 * time.Second}, pass, 6 * time.Second, 10 * time.Second},
		"all of it":              {probes.Check{Interval: 10 * time.Second, Jitter: 10 * time.Second}, pass, 0, 10 * time.Second},
		"more than all":          {probes.Check{Interval: 10 * time.Second, Jitter: time.Hour}, pass, 0, 10 * time.Second},
		"while failing":          {probes.Check{FailingInterval: 2 * time.Second, Jitter: time.Second}, fail, time.Second, 2 * time.Second},
		"while failing, a tenth": {probes.Check{FailingInterval: 2 * time.Second}, fail, 1800 * time.Millisecond, 2 * time.Second},
		"while failing, more":    {probes.Check{FailingInterval: 2 * time.Second, Jitter: time.Minute}, fail, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				const n = 1000
				var gaps []time.Duration
				var last time.Time // the end of the last run
				done := make(chan struct{})
				tt.check.Name, tt.check.Func = "db", func(ctx context.Context) error {
					if !last.IsZero() {
						gaps = append(gaps, time.Since(last))
					}
					if len(gaps) == n {
						close(done)
					}
					time.Sleep(10 * time.Millisecond)
					last = time.Now()
					return tt.f(ctx)
				}
				require.NoError(t, r.AddReadiness(tt.check))
				r.run()
				<-done
				r.end()

				slices.Sort(gaps)
				assert.GreaterOrEqual(t, gaps[0], tt.least)
				assert.LessOrEqual(t, gaps[len(gaps)-1], tt.longer)
				if tt.least == tt.longer {
					return
				}
				// A thousand that are spread evenly: that one of these does not hold is
				// a chance of less than one in 10^20.
				part := (tt.longer - tt.least) / 10
				assert.Less(t, gaps[0], tt.least+part)
				assert.Greater(t, gaps[len(gaps)-1], tt.longer-part)
				assert.InDelta(t, tt.longer-tt.least, 2*(gaps[n/2]-tt.least), 4*float64(part), "the middle is in the middle")
			})
		})
	}
}
