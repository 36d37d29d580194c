// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/probes"
)

func timing(initialDelay, timeout, period, successes, failures int) probes.Timing {
	return probes.Timing{
		InitialDelaySeconds: initialDelay,
		TimeoutSeconds:      timeout,
		PeriodSeconds:       period,
		SuccessThreshold:    successes,
		FailureThreshold:    failures,
	}
}

func TestTiming(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		timing                     probes.Timing
		failing, passing, starting time.Duration
	}{
		{probes.Timing{}, 33 * s, 11 * s, 20 * s},
		{probes.Timing{InitialDelaySeconds: 15}, 33 * s, 11 * s, 35 * s},
		{probes.Timing{TimeoutSeconds: 5}, 45 * s, 15 * s, 20 * s},
		{probes.Timing{PeriodSeconds: 2}, 9 * s, 3 * s, 4 * s},
		{probes.Timing{FailureThreshold: 1}, 11 * s, 11 * s, 0},
		{probes.Timing{PeriodSeconds: 10, FailureThreshold: 30}, 330 * s, 11 * s, 290 * s},
		{probes.Timing{SuccessThreshold: 3}, 33 * s, 33 * s, 20 * s},
		{timing(5, 2, 3, 4, 6), 30 * s, 20 * s, 20 * s},
		{timing(-5, -2, -3, -4, -6), 33 * s, 11 * s, 20 * s},
	} {
		t.Run(fmt.Sprint(tt.timing), func(t *testing.T) {
			assert.Equal(t, tt.failing, tt.timing.Failing())
			assert.Equal(t, tt.passing, tt.timing.Passing())
			assert.Equal(t, tt.starting, tt.timing.StartUp())
		})
	}
}

func TestTimingOfAbsurdNumbers(t *testing.T) {
	const longest = time.Duration(math.MaxInt64) / time.Second * time.Second
	const most = math.MaxInt32
	for _, tt := range []struct {
		timing                     probes.Timing
		failing, passing, starting time.Duration
	}{
		{timing(math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt), longest, longest, longest},
		{timing(most, most, most, most, most), longest, longest, longest},
		{timing(math.MaxInt, 1, 1, 1, 1), 2 * time.Second, 2 * time.Second, most * time.Second},
		{timing(0, math.MaxInt, 1, 1, 1), (most + 1) * time.Second, (most + 1) * time.Second, 0},
		{timing(0, 1, 1, 1, math.MaxInt), 2 * most * time.Second, 2 * time.Second, (most - 1) * time.Second},
		{timing(math.MinInt, math.MinInt, math.MinInt, math.MinInt, math.MinInt), 33 * time.Second, 11 * time.Second, 20 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.timing), func(t *testing.T) {
			assert.Equal(t, tt.failing, tt.timing.Failing())
			assert.Equal(t, tt.passing, tt.timing.Passing())
			assert.Equal(t, tt.starting, tt.timing.StartUp())
		})
	}
	assert.Equal(t, []string{"failureThreshold is more than 32 bits can have (9223372036854775807): Kubernetes refuses it"},
		timing(0, 0, 0, 0, math.MaxInt).Warnings())
}

func TestTimingWarns(t *testing.T) {
	check := func(timeout time.Duration) probes.Check { return probes.Check{Name: "db", Timeout: timeout} }
	for _, tt := range []struct {
		name   string
		timing probes.Timing
		check  probes.Check
		want   []string
	}{
		{"defaults", probes.Timing{}, check(0), nil},
		{"as long", probes.Timing{TimeoutSeconds: 3}, check(3 * time.Second), nil},
		{"longer", probes.Timing{TimeoutSeconds: 3}, check(3*time.Second + 1), []string{
			`check "db" may take 3.000000001s, its probe 3s (timeoutSeconds)`}},
		{"longer than the default", probes.Timing{}, check(5 * time.Second), []string{
			`check "db" may take 5s, its probe 1s (timeoutSeconds)`}},
		{"negative", timing(-1, -1, -1, -1, -1), check(-1), []string{
			"initialDelaySeconds is negative (-1): Kubernetes refuses it",
			"timeoutSeconds is negative (-1): Kubernetes refuses it",
			"periodSeconds is negative (-1): Kubernetes refuses it",
			"successThreshold is negative (-1): Kubernetes refuses it",
			"failureThreshold is negative (-1): Kubernetes refuses it"}},
		{"timeout over period", probes.Timing{TimeoutSeconds: 11}, check(0), []string{
			"timeoutSeconds (11) exceeds periodSeconds (10): a probe that hangs delays the next ones"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, tt.timing.Warnings(tt.check))
		})
	}
	assert.Len(t, probes.Timing{}.Warnings(check(2*time.Second), check(0), check(3*time.Second)), 2)
	assert.Nil(t, probes.Timing{}.Warnings())
}

// A prober probes as a worker of the kubelet does: in one goroutine, when it
// starts and at each tick.
type prober struct {
	initialDelay, period time.Duration
	threshold            int
	phase                time.Duration // from the container's start to the first tick

	began time.Time
}

// run returns how long after the container's start the same answer has come as
// often as the threshold says. probe returns whether it is that answer.
func (p *prober) run(probe func() bool) time.Duration {
	p.began = time.Now()
	time.Sleep(p.phase)
	tick := time.NewTicker(p.period)
	defer tick.Stop()
	for in := 0; ; <-tick.C {
		if time.Since(p.began).Truncate(time.Second) < p.initialDelay {
			continue
		}
		if in++; !probe() {
			in = 0
		}
		if in == p.threshold {
			return time.Since(p.began)
		}
	}
}

// The arithmetic holds for every phase of the kubelet's ticker, and what it
// promises at least is what happens at worst.
func TestTimingHoldsForEveryPhase(t *testing.T) {
	for _, timing := range []probes.Timing{
		timing(0, 1, 3, 1, 1), timing(4, 1, 3, 2, 3), timing(5, 3, 3, 3, 2), timing(2, 5, 2, 1, 4),
	} {
		t.Run(fmt.Sprint(timing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { holds(t, timing) })
		})
	}
}

func holds(t *testing.T, timing probes.Timing) {
	const step = 100 * time.Millisecond
	period := time.Duration(timing.PeriodSeconds) * time.Second
	timeout := time.Duration(timing.TimeoutSeconds) * time.Second
	p := prober{
		initialDelay: time.Duration(timing.InitialDelaySeconds) * time.Second,
		period:       period,
		threshold:    timing.FailureThreshold,
	}
	soonest := time.Duration(1<<63 - 1)
	for p.phase = 0; p.phase < period; p.phase += step {
		// A container that is dead from its start on.
		soonest = min(soonest, p.run(func() bool { return true })) // refuses
		hung := p.run(func() bool { time.Sleep(timeout); return true })
		assert.LessOrEqual(t, hung, p.initialDelay+timing.Failing(), "phase %v", p.phase)

		// One that hangs, or recovers, some time after the initial delay.
		for dies := p.initialDelay; dies < p.initialDelay+period; dies += step {
			p.threshold = timing.FailureThreshold
			acts := p.run(func() bool {
				dead := time.Since(p.began) >= dies
				if dead {
					time.Sleep(timeout)
				}
				return dead
			})
			assert.LessOrEqual(t, acts-dies, timing.Failing(), "phase %v, dies at %v", p.phase, dies)
			p.threshold = timing.SuccessThreshold
			acts = p.run(func() bool { return time.Since(p.began) >= dies })
			assert.LessOrEqual(t, acts-dies, timing.Passing(), "phase %v, passes at %v", p.phase, dies)
			p.threshold = timing.FailureThreshold
		}
	}
	assert.Equal(t, timing.StartUp(), soonest)
}

func ExampleTiming() {
	liveness := probes.Timing{InitialDelaySeconds: 5, FailureThreshold: 3}
	fmt.Println("a dead container is told to stop within", liveness.Failing())
	readiness := probes.Timing{PeriodSeconds: 1, SuccessThreshold: 2}
	fmt.Println("a container that is ready is known to be within", readiness.Passing())
	startup := probes.Timing{PeriodSeconds: 5, FailureThreshold: 30}
	fmt.Println("a start-up may take", startup.StartUp())
	search := probes.Check{Name: "search", Timeout: 3 * time.Second}
	fmt.Println(readiness.Warnings(search))
	readiness.PeriodSeconds, readiness.TimeoutSeconds = 5, 4
	fmt.Println(readiness.Warnings(search))
	// Output:
	// a dead container is told to stop within 33s
	// a container that is ready is known to be within 4s
	// a start-up may take 2m25s
	// [check "search" may take 3s, its probe 1s (timeoutSeconds)]
	// []
}
