// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A wall clock that is set to another time changes nothing, because every time
// that is kept and compared has the reading of the monotonic clock. In a bubble
// there is no other clock to set; so this looks at what is kept.
func TestTimesAreMonotonic(t *testing.T) {
	r := new(Registry)
	fail := make(chan struct{})
	require.NoError(t, r.AddReadiness(
		Check{Name: "passing", Func: func(context.Context) error { return nil }, Tolerate: time.Hour},
		Check{Name: "demanded", Func: func(context.Context) error { return nil }, TTL: time.Hour, InitiallyPassing: true},
		Check{Name: "failing", Interval: time.Nanosecond, Tolerate: time.Hour, Func: func(ctx context.Context) error {
			select {
			case <-fail:
				return context.Canceled
			default:
				return nil
			}
		}},
		Check{Name: "skipped", Func: func(context.Context) error { return nil }, DependsOn: []string{"failing"}},
	))
	_, err := r.AddHeartbeat("beat", time.Hour)
	require.NoError(t, err)
	r.Started()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	r.demand(t.Context(), readiness, "", nil)
	for s := range r.Watch(t.Context()) {
		switch {
		case s.Reason == "":
			close(fail)
		case s.Reason == "ok, degraded: failing, skipped":
			r.Maintain("", time.Hour)
		case s.Reason == "not ready: maintenance":
			cancel()
		}
		if ctx.Err() != nil {
			break
		}
	}
	require.NoError(t, <-ran)

	seen := 0
	for _, c := range r.checks {
		seen += monotonic(t, reflect.ValueOf(c).Elem(), c.Name)
		seen += monotonic(t, reflect.ValueOf(c.known.Load()).Elem(), c.Name+" known")
		if c.beat != nil {
			seen += monotonic(t, reflect.ValueOf(c.beat).Elem(), c.Name+" beat")
		}
	}
	s := r.snapshot()
	seen += monotonic(t, reflect.ValueOf(&s.phase).Elem(), "phase")
	for k, v := range s.verdicts {
		seen += monotonic(t, reflect.ValueOf(v).Elem(), kind(k).String())
	}
	assert.GreaterOrEqual(t, seen, 12)
}

// monotonic looks at the times in a struct, and returns how many it has seen that
// are set.
func monotonic(t *testing.T, v reflect.Value, name string) (seen int) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Type() != reflect.TypeFor[time.Time]() {
			if f.Kind() == reflect.Struct && f.Type() == reflect.TypeFor[allowance]() {
				seen += monotonic(t, f, name)
			}
			continue
		}
		at := *(*time.Time)(unsafe.Pointer(f.UnsafeAddr()))
		if at.IsZero() {
			continue
		}
		assert.NotEqual(t, at, at.Round(0), "%s: %s", name, v.Type().Field(i).Name)
		seen++
	}
	return seen
}
