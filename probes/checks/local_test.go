// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

func TestLocalFitsBothKinds(t *testing.T) {
	var r probes.Registry
	require.NoError(t, r.AddLiveness("goroutines", checks.Goroutines(1000)))
	require.NoError(t, r.AddReadiness(probes.Check{Name: "goroutines", Func: checks.Goroutines(1000).Check}))
}

func TestLocalEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls int
	check := checks.Local(func() error { calls++; return nil }).Check
	require.NoError(t, check(ctx))
	cancel()
	assert.ErrorIs(t, check(ctx), context.Canceled)
	assert.Equal(t, 1, calls)
}

func TestGoroutines(t *testing.T) {
	assert.NoError(t, checks.Goroutines(math.MaxInt)())
	assert.ErrorContains(t, checks.Goroutines(0)(), "goroutines, more than 0")
}

func TestGCPause(t *testing.T) {
	every, none := checks.GCPause(0), checks.GCPause(time.Hour)
	runtime.GC()
	assert.ErrorContains(t, every(), "or longer, at least 0s")
	assert.NoError(t, none())
	// An error of one run: the runtime may collect of its own accord between two
	// runs, but not each time.
	passed := false
	for range 1000 {
		passed = passed || every() == nil
	}
	assert.True(t, passed)

	runtime.GC()
	assert.NoError(t, checks.GCPause(0)(), "what was before is not judged")
}

func TestLocalChecksDoNotStopTheWorld(t *testing.T) {
	pause := checks.GCPause(time.Hour)
	before := stops()
	for range 1000 {
		require.NoError(t, pause())
		require.NoError(t, checks.Goroutines(math.MaxInt)())
		require.NoError(t, checks.Memory(1)())
	}
	assert.Less(t, stops()-before, uint64(1000))

	before = stops()
	runtime.ReadMemStats(new(runtime.MemStats))
	assert.Greater(t, stops(), before, "stops are seen")
}

// stops returns how often the world has been stopped, but for the collector.
func stops() (n uint64) {
	s := []metrics.Sample{{Name: "/sched/pauses/total/other:seconds"}}
	metrics.Read(s)
	for _, count := range s[0].Value.Float64Histogram().Counts {
		n += count
	}
	return n
}

func TestMemory(t *testing.T) {
	assert.NoError(t, checks.Memory(1)(), "the test runs, so it is within its limit")
}

func TestMemoryOfNoShare(t *testing.T) {
	for _, share := range []float64{0, -1, 80, math.NaN()} {
		assert.ErrorContains(t, checks.Memory(share)(), "is not above 0 and up to 1")
	}
}
