// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is answered after checks were added, of which only they are judged, is what would
// be answered if all were.
func TestAddedChecksAreJudgedAsIfAllWere(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			r := &Registry{Logger: slog.New(slog.DiscardHandler), RedAt: Moment(random.IntN(3))}
			calls := []func(){
				r.Started,
				func() { r.Maintain("", time.Duration(random.IntN(3))*time.Second) },
				r.EndMaintenance,
				func() { r.Expect(strconv.Itoa(random.IntN(5))) },
			}
			for i := range 60 {
				switch n := random.IntN(40); {
				case n < len(calls):
					calls[n]()
				case n == len(calls) && i > 40:
					r.Shutdown()
				}
				time.Sleep(time.Duration(random.IntN(3)) * time.Second)
				for c := range r.checks.all() {
					if random.IntN(10) == 0 {
						r.say(c, random.IntN(2) == 0)
					}
				}
				require.NoError(t, addOne(r, random, i))
				for k := range kinds {
					now := time.Now()
					got, want := *r.snapshot().verdict(k), *newSnapshot(r.phase, r.checks, now).verdict(k)
					if !got.ask.After(now) && !want.ask.After(now) && got.ask.IsZero() == want.ask.IsZero() {
						got.ask = want.ask // at once
					}
					require.Equal(t, want, got, "seed %d, check %d: %v", seed, i, k)
				}
			}
		})
	}
}

// say has a check say something, as if it had run.
func (r *Registry) say(c *check, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.retiredLocked(c) || c.known.Load().state == skipped {
		return
	}
	r.takeLocked(c, outcome{failed: failed}, now)
	r.scheduleLocked(c, now)
	r.publishLocked(now)
}

// addOne adds a check of some sort.
func addOne(r *Registry, random *rand.Rand, i int) error {
	some := func() bool { return random.IntN(3) == 0 }
	name := strconv.Itoa(i * 37 % 101)
	if random.IntN(5) == 0 {
		return r.AddLiveness(name, func() error { return nil })
	}
	c := Check{
		Name: name, Optional: some(), InitiallyPassing: some(),
		Interval: time.Duration(1+random.IntN(5)) * time.Second, Timeout: time.Second, Jitter: -1,
		Func: func(context.Context) error { return nil },
	}
	if some() {
		c.TTL = time.Second
	}
	if !c.Optional && some() {
		c.Tolerate = time.Duration(1+random.IntN(5)) * time.Second
	}
	if d := strconv.Itoa(random.IntN(i+1) * 37 % 101); some() && r.checks.find(readiness, d) != nil {
		c.DependsOn = []string{d}
	}
	return r.AddReadiness(c)
}

// That a probe is answered otherwise since a check was added is known at once.
func TestAddedCheckThatTurnsTheProbeIsNoted(t *testing.T) {
	r := &Registry{Logger: slog.New(slog.DiscardHandler)}
	r.Started()
	nothing := func(context.Context) error { return nil }
	var got []string
	for _, c := range []Check{
		{Name: "passing", InitiallyPassing: true},
		{Name: "optional", Optional: true},
		{Name: "critical"},
		{Name: "another"},
	} {
		c.Func = nothing
		require.NoError(t, r.AddReadiness(c))
		history := r.History()
		got = append(got, history[len(history)-1].To)
	}
	require.Equal(t, []string{"passing", "degraded", "failing", "failing"}, got)
}
