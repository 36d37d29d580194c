// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestRegistrationErrors(t *testing.T) {
	r := new(probes.Registry)
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: pass}))
	require.NoError(t, r.AddLiveness("db", func() error { return nil }), "the kinds have names of their own")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{r.AddReadiness(probes.Check{Func: pass}), "probes: invalid check: a readiness check has no name"},
		{r.AddReadiness(probes.Check{Name: "x"}), `probes: invalid check: readiness check "x" has no function`},
		{r.AddReadiness(probes.Check{Name: "db", Func: pass}), `probes: invalid check: there is a readiness check "db" already`},
		{r.AddReadiness(probes.Check{Name: "x", Func: pass, Timeout: -time.Second}), `probes: invalid check: readiness check "x" has the negative timeout -1s`},
		{r.AddReadiness(probes.Check{Name: "x", Func: pass, Interval: -1}), `probes: invalid check: readiness check "x" has the negative interval -1ns`},
		{r.AddLiveness("", func() error { return nil }), "probes: invalid check: a liveness check has no name"},
		{r.AddLiveness("x", nil), `probes: invalid check: liveness check "x" has no function`},
		{r.AddLiveness("db", func() error { return nil }), `probes: invalid check: there is a liveness check "db" already`},
	} {
		assert.ErrorIs(t, tt.err, probes.ErrInvalid)
		assert.EqualError(t, tt.err, tt.want)
	}
}

func TestBadChecks(t *testing.T) {
	r := new(probes.Registry)
	for want, c := range map[string]probes.Check{
		`has the negative failing interval -1s`:             {FailingInterval: -time.Second},
		`has the negative time to live -1s`:                 {TTL: -time.Second},
		`has the negative failure threshold -1`:             {FailureThreshold: -1},
		`has the negative success threshold -2`:             {SuccessThreshold: -2},
		`tolerates the negative time -1s`:                   {Tolerate: -time.Second},
		`tolerates the share 1`:                             {Tolerate: time.Second, TolerateShare: 1},
		`tolerates the share -0.5`:                          {Tolerate: time.Second, TolerateShare: -0.5},
		`tolerates the share NaN`:                           {Tolerate: time.Second, TolerateShare: math.NaN()},
		`tolerates a share, and no time`:                    {TolerateShare: 0.5},
		`is optional and shared at once`:                    {Optional: true, Tolerate: time.Second},
		`has characters in its name that cannot be printed`: {Name: "a\nb"},
	} {
		if c.Name == "" {
			c.Name = "x"
		}
		c.Func = pass
		err := r.AddReadiness(c)
		assert.ErrorIs(t, err, probes.ErrInvalid)
		assert.EqualError(t, err, fmt.Sprintf("probes: invalid check: readiness check %q %s", c.Name, want))
	}
}

func TestHugeSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		huge := probes.Check{
			Timeout: math.MaxInt64, Interval: math.MaxInt64, FailingInterval: math.MaxInt64, Jitter: math.MaxInt64,
			FailureThreshold: math.MaxInt, SuccessThreshold: math.MaxInt, Tolerate: math.MaxInt64, Func: pass, InitiallyPassing: true,
		}
		for i := range 20 {
			huge.Name = strconv.Itoa(i)
			require.NoError(t, r.AddReadiness(huge))
			huge.DependsOn = []string{huge.Name}
		}
		assert.Equal(t, okBody, r.readyz())
		r.run()
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(1000 * forLong)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

func TestRegisteringWhileChecksRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				name, f := fmt.Sprintf("check-%03d", i), pass
				if i%2 == 0 {
					f = func(context.Context) error { <-gate; return nil }
				}
				assert.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: f}))
				if i%2 == 0 {
					assert.Contains(t, get(r.ReadyHandler()), name)
				}
			})
		}
		wg.Wait()
		assert.True(t, strings.HasPrefix(r.readyz(), "503 not ready: check-000, check-002, check-004, "))
		close(gate)
		assert.Equal(t, okBody, r.readyz())
		r.ready("late", fail)
		assert.Equal(t, "503 not ready: late\n", r.readyz(), "started at once")
		r.end()
	})
}
