// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestInterval(t *testing.T) {
	for _, set := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			const takes = 300 * time.Millisecond
			interval := probes.DefaultInterval
			if set != 0 {
				interval = set
			}
			var gaps []time.Duration
			var last time.Time
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: set, Func: func(context.Context) error {
				if !last.IsZero() {
					gaps = append(gaps, time.Since(last))
				}
				time.Sleep(takes)
				last = time.Now()
				return nil
			}}))
			r.run()
			time.Sleep(200 * interval)
			r.end()
			require.GreaterOrEqual(t, len(gaps), 190)
			distinct := map[time.Duration]bool{}
			for _, gap := range gaps {
				assert.LessOrEqual(t, gap, interval)
				assert.GreaterOrEqual(t, gap, interval-interval/10)
				distinct[gap] = true
			}
			assert.Greater(t, len(distinct), 100, "jitter")
		})
	}
}

func TestTimeout(t *testing.T) {
	for _, set := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			timeout := probes.DefaultTimeout
			if set != 0 {
				timeout = set
			}
			hang := false
			began := make(chan time.Time, 1)
			cancelled := make(chan time.Duration, 1)
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Timeout: set, Func: func(ctx context.Context) error {
				if !hang {
					hang = true
					return nil
				}
				t0 := time.Now()
				began <- t0
				<-ctx.Done()
				cancelled <- time.Since(t0)
				time.Sleep(time.Second) // it ends, and late
				return nil
			}}))
			r.run()
			require.Equal(t, okBody, r.readyz())
			<-began
			time.Sleep(timeout - 1)
			assert.Equal(t, okBody, r.readyz())
			assert.Empty(t, cancelled)
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "exactly then, and without waiting for anybody")
			assert.Equal(t, timeout, <-cancelled)
			assert.Equal(t, fmt.Sprintf("level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=%v error=\"timed out after %[1]v\"\n", timeout), r.log())
			time.Sleep(time.Second)
			assert.Equal(t, "503 not ready: db\n", r.readyz(), "what it returned came too late")
			assert.Empty(t, r.log())
			r.end()
		})
	}
}

func TestResultsExpire(t *testing.T) {
	t.Run("exactly, when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			calls := 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(ctx context.Context) error {
				if calls++; calls == 1 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}}))
			r.run() // the first run has passed
			time.Sleep(noJitter)
			synctest.Wait() // the second one is under way
			assert.Zero(t, r.end())
			time.Sleep(probes.DefaultTimeout - 1)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("of liveness do not, when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddLiveness("progress", func() error { return nil }))
			r.run()
			r.end()
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("one after the other, if nothing is published", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			for i, name := range []string{"a", "b", "c"} {
				require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: pass, Jitter: -1, Interval: time.Duration(i+1) * time.Second}))
			}
			r.run()
			require.Equal(t, okBody, r.readyz())
			r.end()
			for _, want := range []string{okBody, "503 not ready: a\n", "503 not ready: a, b\n", "503 not ready: a, b, c\n"} {
				time.Sleep(time.Second)
				assert.Equal(t, want, r.readyz(), "a second after its interval")
			}
		})
	})
}

func TestLongestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "once", Func: pass, Timeout: math.MaxInt64, Interval: math.MaxInt64}))
		r.run()
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(1000 * forLong)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}
