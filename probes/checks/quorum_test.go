// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
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
	for want, c := range map[string]check{
		"at least 0 of 0 have to pass":     checks.All(),
		"at least 1 of 0 have to pass":     checks.Any(),
		"at least 0 of 1 have to pass":     checks.AtLeast(0, yes),
		"at least -1 of 1 have to pass":    checks.AtLeast(-1, yes),
		"at least 2 of 1 have to pass":     checks.AtLeast(2, yes),
		"the check at index 1 of 2 is nil": checks.All(yes, nil),
	} {
		assert.ErrorContains(t, c(t.Context()), "checks: "+want)
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

// members returns how many goroutines members have in the bubble: outside of it there
// may be those of earlier tests that are about to end.
func members() (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		header, calls, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "synctest bubble") && strings.Contains(calls, "\ncreated by github.com/lameduck-go/lameduck/probes/checks.(*member)") {
			n++
		}
	}
	return n
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
		for range 100 {
			require.NoError(t, check(t.Context()))
		}
		synctest.Wait() // for hang to be called, and yes to be over
		assert.EqualValues(t, 1, calls.Load())
		assert.Equal(t, 1, members())

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

func bug(context.Context) error { panic(errBug) }

func exits(context.Context) error { runtime.Goexit(); return nil }

var errBug = errors.New("bug")

// panicOf returns what a check panics with, which is an error.
func panicOf(t *testing.T, c check) (err error) {
	t.Helper()
	defer func() {
		t.Helper()
		err, _ = recover().(error)
		require.Error(t, err)
	}()
	c(t.Context())
	return nil
}

// A panic reaches the caller with the stack of the member that it was, through any
// number of AtLeasts.
func TestPanicsReachTheCaller(t *testing.T) {
	for name, tt := range map[string]struct {
		check       check
		says, where string
	}{
		"All":               {checks.All(bug), "bug", "checks_test.bug("},
		"Any":               {checks.Any(no("a"), bug), "bug", "checks_test.bug("},
		"All of All":        {checks.All(checks.All(bug)), "bug", "checks_test.bug("},
		"Any of All of Any": {checks.Any(checks.All(checks.Any(bug))), "bug", "checks_test.bug("},
		"Goexit":            {checks.All(exits), "runtime.Goexit called", "checks_test.exits("},
		"nested Goexit":     {checks.All(checks.Any(exits)), "runtime.Goexit called", "checks_test.exits("},
	} {
		t.Run(name, func(t *testing.T) {
			err := panicOf(t, tt.check)
			assert.Equal(t, tt.says == "bug", errors.Is(err, errBug))
			says, stack, _ := strings.Cut(err.Error(), "\n\n")
			assert.Equal(t, tt.says, says)
			assert.Contains(t, stack, tt.where)
			assert.Equal(t, 1, strings.Count(stack, " [running]:\n"), "once")
		})
	}

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

// In a registry, the log has where a member has panicked, and Panics what it said.
func TestPanicOfAMemberInARegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := &probes.Registry{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		require.NoError(t, r.AddReadiness(probes.Check{Name: "brokers", Func: checks.All(yes, checks.Any(bug))}))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.Run(ctx) }()
		synctest.Wait()
		assert.True(t, strings.HasPrefix(r.Panics()["brokers"], "panic: bug\n"), r.Panics())
		cancel()
		require.NoError(t, <-ran)
		assert.Contains(t, log.String(), "error=\"panic: bug\\n\\ngoroutine ")
		assert.Contains(t, log.String(), "checks_test.bug(")
	})
}

// The errors are in the order of the members, whatever the order in which they came,
// and each can be found.
func TestErrorsAreInTheOrderOfTheMembers(t *testing.T) {
	errs := []error{errors.New("a"), errors.New("b"), errors.New("c")}
	for _, order := range [][3]time.Duration{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}, {2, 1, 3}, {1, 1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			err := checks.Any(after(order[0], errs[0]), after(order[1], errs[1]), after(order[2], errs[2]))(t.Context())
			assert.EqualError(t, err, "0 of 3 pass, 1 must: a\nb\nc")
			for _, want := range errs {
				assert.ErrorIs(t, err, want)
			}
		})
	}

	t.Run("the first is enough for All", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			err := checks.All(after(3, errs[0]), after(1, errs[1]), after(2, errs[2]))(t.Context())
			assert.EqualError(t, err, "0 of 3 pass, 3 must: b")
			assert.ErrorIs(t, err, errs[1])
			synctest.Wait()
		})
	})

	t.Run("the end of the context is the last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			hangs := func(context.Context) error { <-release; return nil }
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			err := checks.AtLeast(2, hangs, after(2, errs[1]), hangs, yes, hangs)(ctx)
			assert.EqualError(t, err, "1 of 5 pass, 2 must: b\ncontext deadline exceeded")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(began))
			close(release)
			synctest.Wait()
		})
	})
}
