// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

type check = func(context.Context) error

func yes(context.Context) error { return nil }

func no(text string) check {
	return func(context.Context) error { return errors.New(text) }
}

// after is a check that ends with err after d, or with its context.
func after(d time.Duration, err error) check {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestAtLeast(t *testing.T) {
	a, b := no("a"), no("b")
	for _, tt := range []struct {
		name  string
		check check
		want  string
	}{
		{"all of three", checks.All(yes, yes, yes), ""},
		{"all of one", checks.All(yes), ""},
		{"all but one", checks.All(yes, a, yes), "pass, 3 must: a"},
		{"any of three", checks.Any(a, yes, b), ""},
		{"any of none that passes", checks.Any(a), "0 of 1 pass, 1 must: a"},
		{"two of three", checks.AtLeast(2, yes, a, yes), ""},
		{"nested", checks.All(checks.Any(a, yes), checks.AtLeast(2, yes, b, yes)), ""},
		{"nested, failing", checks.Any(checks.All(a)), "0 of 1 pass, 1 must: 0 of 1 pass, 1 must: a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.check(t.Context())
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestAtLeastSaysEachReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errB := errors.New("b")
		err := checks.AtLeast(2, after(1, errors.New("a")), after(3, nil), after(2, errB))(t.Context())
		assert.EqualError(t, err, "0 of 3 pass, 2 must: a\nb")
		assert.ErrorIs(t, err, errB)
	})
}

func TestAtLeastThatCannotBe(t *testing.T) {
	for name, c := range map[string]check{
		"all of none": checks.All(), "any of none": checks.Any(), "none": checks.AtLeast(0, yes),
		"fewer": checks.AtLeast(-1, yes), "too many": checks.AtLeast(2, yes), "nil": checks.All(yes, nil),
	} {
		assert.Nil(t, c, name)
		assert.ErrorIs(t, new(probes.Registry).AddReadiness(probes.Check{Name: name, Func: c}), probes.ErrInvalid)
	}
}

func TestTheVerdictDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		slow := after(time.Hour, nil)
		assert.NoError(t, checks.Any(slow, after(time.Second, nil), slow)(t.Context()))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Error(t, checks.All(slow, after(time.Second, errors.New("down")))(t.Context()))
		assert.Equal(t, 2*time.Second, time.Since(began))
		synctest.Wait() // those that were slow have ended with their context

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := checks.All(slow, slow, yes)(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "1 of 3 pass, 3 must")
		assert.Equal(t, 3*time.Second, time.Since(began))
	})
}

func TestACheckThatHangsCostsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int32
		hang := func(context.Context) error {
			calls.Add(1)
			<-release
			return nil
		}
		check := checks.Any(hang, yes)
		before := runtime.NumGoroutine()
		for range 100 {
			require.NoError(t, check(t.Context()))
		}
		assert.EqualValues(t, 1, calls.Load())
		synctest.Wait()
		assert.LessOrEqual(t, runtime.NumGoroutine(), before+1)

		close(release)
		synctest.Wait()
		assert.NoError(t, checks.All(check)(t.Context()))
		synctest.Wait()
		assert.EqualValues(t, 2, calls.Load(), "it is called again once it has returned")
	})
}

func TestACheckThatStillRunsFails(t *testing.T) {
	release := make(chan struct{})
	done := make(chan struct{})
	first := true
	check := checks.All(func(context.Context) error {
		if first {
			first = false
			<-release
			defer close(done)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, check(ctx), context.Canceled)
	assert.EqualError(t, check(t.Context()), "0 of 1 pass, 1 must: an earlier run has not returned")
	close(release)
	<-done
}

func TestPanicsReachTheCaller(t *testing.T) {
	errBug := errors.New("bug")
	assert.PanicsWithValue(t, errBug, func() {
		checks.All(func(context.Context) error { panic(errBug) })(t.Context())
	})
	assert.PanicsWithValue(t, "runtime.Goexit called", func() {
		checks.All(func(context.Context) error { runtime.Goexit(); return nil })(t.Context())
	})
	assert.PanicsWithValue(t, "twice", func() {
		checks.All(checks.All(func(context.Context) error { panic("twice") }))(t.Context())
	})
	// One that nobody waits for any more takes nothing with it.
	panicked := make(chan struct{})
	late := func(ctx context.Context) error {
		<-ctx.Done()
		defer close(panicked)
		panic("late")
	}
	assert.NoError(t, checks.Any(late, yes)(t.Context()))
	<-panicked
}
