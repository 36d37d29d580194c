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
	for c := range r.checks.all() {
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

// A clock that is set, by hours and to either side, makes no result older or
// younger, and maintenance neither longer nor shorter. No test can set the clock;
// so the times that are kept have their wall clock changed by as much.
func TestAWallClockThatIsSetChangesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		check   Check
		prepare func(r *Registry, now time.Time)
		ready   string
		live    string
		asks    bool // a probe
	}{
		"fresh":              {Check{Interval: time.Hour, InitiallyPassing: true}, nil, "ok", "ok", false},
		"too old":            {Check{Interval: 1, Timeout: 1, InitiallyPassing: true}, nil, "not ready: db", "ok", false},
		"fresh, on demand":   {Check{TTL: time.Hour, Interval: time.Hour}, results(true), "ok", "ok", false},
		"too old, on demand": {Check{TTL: 1}, results(true), "ok", "ok", true},
		"tolerated":          {Check{Interval: time.Hour, Tolerate: time.Hour}, results(true, false), "ok, degraded: db", "ok", false},
		"tolerated no more":  {Check{Interval: time.Hour, Tolerate: 1}, results(true, false), "not ready: db", "ok", false},
		"to run in an hour":  {Check{Interval: time.Hour}, results(true), "ok", "ok", false},
		"maintenance": {Check{InitiallyPassing: true}, func(r *Registry, _ time.Time) { r.Maintain("", time.Hour) },
			"not ready: maintenance", "ok", false},
		"maintenance that is over": {Check{Interval: time.Hour, InitiallyPassing: true}, func(r *Registry, _ time.Time) { r.Maintain("", 1) },
			"ok", "ok", false},
		"a beat in time":  {Check{Interval: time.Hour, InitiallyPassing: true}, beat(time.Hour), "ok", "ok", false},
		"a beat too late": {Check{Interval: time.Hour, InitiallyPassing: true}, beat(1), "ok", "not live: beat", false},
	} {
		for _, by := range []time.Duration{0, 10 * time.Hour, -10 * time.Hour} {
			t.Run(name+" "+by.String(), func(t *testing.T) {
				r := new(Registry)
				r.begin()
				r.Started()
				tt.check.Name, tt.check.Func = "db", func(context.Context) error { t.Error("called"); return nil }
				require.NoError(t, r.AddReadiness(tt.check))
				if tt.prepare != nil {
					tt.prepare(r, time.Now())
				}
				s := r.snapshot()
				set(reflect.ValueOf(s).Elem().FieldByName("phase"), by)
				for _, v := range s.verdicts {
					set(reflect.ValueOf(v).Elem(), by)
				}
				set(reflect.ValueOf(&r.phase).Elem(), by)
				for c := range r.checks.all() {
					set(reflect.ValueOf(c).Elem(), by)
					set(reflect.ValueOf(c.known.Load()).Elem(), by)
					if c.beat != nil {
						set(reflect.ValueOf(c.beat).Elem(), by)
					}
				}
				for range 2 { // as published, and as judged anew
					ready := s.verdict(readiness)
					assert.Equal(t, tt.ready, ready.line)
					assert.Equal(t, tt.live, s.verdict(liveness).line)
					assert.Equal(t, tt.asks, !ready.ask.IsZero() && time.Since(ready.ask) >= 0)
					s = newSnapshot(r.phase, r.checks, time.Now())
				}
				assert.Equal(t, tt.asks, len(r.demandAll(readiness, "", nil, time.Now())) > 0)
				for c := range r.checks.all() {
					if c.beat != nil {
						assert.Equal(t, tt.live != "ok", c.beat.missed.Load())
					}
				}
				if name == "to run in an hour" {
					wake := r.step(t.Context())
					assert.InDelta(t, time.Hour, time.Until(wake), float64(10*time.Minute))
				}
			})
		}
	}
}

// results gives the check results, one after the other, and publishes what it is.
func results(passes ...bool) func(r *Registry, now time.Time) {
	return func(r *Registry, now time.Time) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, pass := range passes {
			r.takeLocked(r.checks.recent[0], outcome{failed: !pass}, now)
			r.scheduleLocked(r.checks.recent[0], now)
		}
		r.publishLocked(now)
	}
}

func beat(maxAge time.Duration) func(*Registry, time.Time) {
	return func(r *Registry, _ time.Time) { _, _ = r.AddHeartbeat("beat", maxAge) }
}

// set changes the wall clock of the times in a struct, whole seconds of it, and
// leaves the reading of the monotonic clock.
func set(v reflect.Value, by time.Duration) {
	for _, f := range v.Fields() {
		switch {
		case f.Type() == reflect.TypeFor[time.Time]():
			at := (*time.Time)(unsafe.Pointer(f.UnsafeAddr()))
			if !at.IsZero() {
				*at = wallMoved(*at, by)
			}
		case f.Type() == reflect.TypeFor[allowance]():
			set(f, by)
		}
	}
}

// wallMoved knows what a time.Time with both readings looks like: 33 bits of its
// first word are seconds, above 30 of nanoseconds.
func wallMoved(at time.Time, by time.Duration) time.Time {
	moved := at
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(by/time.Second) << 30
	if moved.Sub(at) != 0 || moved.Round(0).Sub(at.Round(0)) != by {
		panic("time.Time has changed, or there is no monotonic reading")
	}
	return moved
}
