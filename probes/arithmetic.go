// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// A Timing is the timing of a probe as a Kubernetes manifest has it, field by
// field in whole seconds, and answers what it means. Zero fields are the
// API's defaults. Negative ones and those of more than 32 bits, which the API refuses,
// count as the nearest that it takes. What is longer than the longest Duration, 292
// years, is that many whole seconds.
//
// What it answers is from the kubelet's prober (pkg/kubelet/prober/worker.go in
// k8s.io/kubernetes): it probes in one goroutine, at a tick of each period, for
// the first time at the first tick after the delay, and acts when failureThreshold
// probes in a row have failed. An answer that is red only after a check's timeout
// and interval is later by those.
type Timing struct {
	InitialDelaySeconds int // from the start of the container
	TimeoutSeconds      int // default 1
	PeriodSeconds       int // default 10
	SuccessThreshold    int // default 1, which liveness and startup must have
	FailureThreshold    int // default 3
}

// withDefaults is what SetDefaults_Probe does (pkg/apis/core/v1/defaults.go).
func (t Timing) withDefaults() Timing {
	return Timing{
		InitialDelaySeconds: inRange(t.InitialDelaySeconds),
		TimeoutSeconds:      cmp.Or(inRange(t.TimeoutSeconds), 1),
		PeriodSeconds:       cmp.Or(inRange(t.PeriodSeconds), 10),
		SuccessThreshold:    cmp.Or(inRange(t.SuccessThreshold), 1),
		FailureThreshold:    cmp.Or(inRange(t.FailureThreshold), 3),
	}
}

// inRange returns the nearest value that a field of the API can have, which has 32 bits.
func inRange(n int) int { return min(max(0, n), math.MaxInt32) }

// rounds returns how long so many rounds take that each take the sum of the seconds. Of
// values in range the product fits, but not as a Duration.
func rounds(n int, each ...int) time.Duration {
	var sum int64
	for _, s := range each {
		sum += int64(s)
	}
	return seconds(int64(n) * sum)
}

func seconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Second))) * time.Second
}

// Failing returns how long it takes at most, from the moment from which every
// probe fails, until the kubelet acts: (period + timeout) × failureThreshold. For
// liveness that is until a dead container is told to stop; up to its grace
// period passes before it is killed and started anew. For readiness it is until
// the pod is not ready; the endpoints lag behind that. A container that is dead
// from its start on has initialDelay besides.
func (t Timing) Failing() time.Duration {
	t = t.withDefaults()
	return rounds(t.FailureThreshold, t.PeriodSeconds, t.TimeoutSeconds)
}

// Passing returns how long it takes at most, from the moment from which every
// probe passes, until the kubelet believes it: (period + timeout) ×
// successThreshold. A container that is not ready is often probed earlier.
func (t Timing) Passing() time.Duration {
	t = t.withDefaults()
	return rounds(t.SuccessThreshold, t.PeriodSeconds, t.TimeoutSeconds)
}

// StartUp returns how long a start-up may take for certain without being taken
// for dead, t being that of the startup probe, or of the liveness probe if there
// is none: initialDelay + period × (failureThreshold − 1). The last failure may come
// as early as that. Kubernetes' documents, which count the full period before the
// first probe, too, have one period more.
func (t Timing) StartUp() time.Duration {
	t = t.withDefaults()
	return seconds(int64(t.InitialDelaySeconds) + int64(t.PeriodSeconds)*int64(t.FailureThreshold-1))
}

// Warnings returns, in words, what does not fit together in t and the checks that
// the probe's answer comes from; nil if all does. A check whose own timeout is
// longer than the probe's is one: whatever runs it while the probe waits is too
// late with its answer. A Registry does not, so there it only says that a check
// that hangs is reported later than the timing makes believe.
func (t Timing) Warnings(checks ...Check) (warnings []string) {
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"initialDelaySeconds", t.InitialDelaySeconds},
		{"timeoutSeconds", t.TimeoutSeconds},
		{"periodSeconds", t.PeriodSeconds},
		{"successThreshold", t.SuccessThreshold},
		{"failureThreshold", t.FailureThreshold},
	} {
		if f.value < 0 {
			warn("%s is negative (%d): Kubernetes refuses it", f.name, f.value)
		}
		if f.value > math.MaxInt32 {
			warn("%s is more than 32 bits can have (%d): Kubernetes refuses it", f.name, f.value)
		}
	}
	t = t.withDefaults()
	if t.TimeoutSeconds > t.PeriodSeconds {
		warn("timeoutSeconds (%d) exceeds periodSeconds (%d): a probe that hangs delays the next ones", t.TimeoutSeconds, t.PeriodSeconds)
	}
	for _, c := range checks {
		if timeout := cmp.Or(max(0, c.Timeout), DefaultTimeout); timeout > seconds(int64(t.TimeoutSeconds)) {
			warn("check %q may take %v, its probe %v (timeoutSeconds)", c.Name, timeout, seconds(int64(t.TimeoutSeconds)))
		}
	}
	return warnings
}
