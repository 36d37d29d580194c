// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func TestPanicsAreContained(t *testing.T) {
	boom := func(context.Context) error { panic("boom") }
	goexit := func(context.Context) error { runtime.Goexit(); return nil }
	for _, tt := range []struct {
		name string
		c    lifecycle.Component
		want string
		code int
	}{
		{"panic in start", lifecycle.Component{Start: boom}, "start guilty: panic: boom", 3},
		{"panic in run", lifecycle.Component{Run: boom}, "run guilty: panic: boom", 1},
		{"panic in stop", lifecycle.Component{Stop: boom}, "stop guilty: panic: boom", 1},
		{"goexit in start", lifecycle.Component{Start: goexit}, "start guilty: runtime.Goexit was called", 3},
		{"goexit in run", lifecycle.Component{Run: goexit}, "run guilty: runtime.Goexit was called", 1},
		{"goexit in stop", lifecycle.Component{Stop: goexit}, "stop guilty: runtime.Goexit was called", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				tt.c.Name, tt.c.DependsOn = "guilty", []string{"db"}
				a, _ := app(d.component("db"), tt.c)
				err := runFor(t, a, time.Minute)
				require.ErrorContains(t, err, tt.want)
				assert.Equal(t, tt.code, lifecycle.ExitCode(err))
				assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
			})
		})
	}
}

func TestAllErrorsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := func(text string) func(context.Context) error {
			return func(context.Context) error { return errors.New(text) }
		}
		a, _ := app(
			lifecycle.Component{Name: "a", Stop: fail("first")},
			lifecycle.Component{Name: "b", DependsOn: []string{"a"}, Stop: fail("second")},
		)
		flushed := false
		a.Flush = func(context.Context) error { flushed = true; return errors.New("third") }
		err := runFor(t, a, time.Second)
		for _, want := range []string{"stop a: first", "stop b: second", "stop flush: third"} {
			assert.ErrorContains(t, err, want)
		}
		assert.True(t, flushed)
		assert.Equal(t, 1, lifecycle.ExitCode(err))
	})
}

// hostile is an error that does as it is told when it is asked for its text.
type hostile struct{ do func() }

func (h hostile) Error() string { h.do(); return "hostile" }

func errs() []error { return nil }

// TestOddPanicsAndErrors: whatever is returned or panicked with, the component is
// named, the others are stopped, and nothing waits past the deadline.
func TestOddPanicsAndErrors(t *testing.T) {
	closed := errors.New("closed")
	for _, tt := range []struct {
		name string
		stop func(release chan struct{}) error
		want string
		is   error
	}{
		{"panic(nil)", func(chan struct{}) error { panic(nil) }, "stop c: panic: panic called with nil argument", nil},
		{"panic(error)", func(chan struct{}) error { panic(fmt.Errorf("wrapped: %w", closed)) }, "stop c: panic: wrapped: closed", closed},
		{"panic(io.EOF)", func(chan struct{}) error { panic(io.EOF) }, "stop c: panic: EOF", io.EOF},
		{"panic(http.ErrAbortHandler)", func(chan struct{}) error { panic(http.ErrAbortHandler) }, "stop c: panic: net/http: abort Handler", http.ErrAbortHandler},
		{"panic of a number", func(chan struct{}) error { panic(42) }, "stop c: panic: 42", nil},
		{"panic of a function", func(chan struct{}) error { panic(func() {}) }, "stop c: panic: 0x", nil},
		{"panic of a runtime error", func(chan struct{}) error { return errs()[1] },
			"stop c: panic: runtime error: index out of range [1] with length 0", nil},
		{"panic whose text panics", func(chan struct{}) error { panic(hostile{func() { panic("again") }}) }, "stop c: panic: %!v(PANIC=Error method: again)", nil},
		{"panic whose text hangs", func(release chan struct{}) error { panic(hostile{func() { <-release }}) }, "stop c: lifecycle: not done by its deadline", lifecycle.ErrDeadline},
		{"panic whose text calls Goexit", func(chan struct{}) error { panic(hostile{runtime.Goexit}) }, "stop c: runtime.Goexit was called", nil},
		{"error whose text panics", func(chan struct{}) error { return hostile{func() { panic("again") }} }, "stop c: panic: again", nil},
		{"error whose text hangs", func(release chan struct{}) error { return hostile{func() { <-release }} }, "stop c: lifecycle: not done by its deadline", lifecycle.ErrDeadline},
		{"error whose text calls Goexit", func(chan struct{}) error { return hostile{runtime.Goexit} }, "stop c: runtime.Goexit was called", nil},
		{"a typed nil", func(chan struct{}) error { var err *net.OpError; return err }, "stop c: <nil>", nil},
		{"an error of many lines", func(chan struct{}) error { return errors.Join(io.EOF, closed) }, "stop c: EOF\nclosed", closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				d := newDiary()
				a, log := app(d.component("db"), lifecycle.Component{Name: "c", DependsOn: []string{"db"},
					Stop: func(context.Context) error { return tt.stop(release) }})
				err := runFor(t, a, time.Minute)
				require.Error(t, err)
				assert.Truef(t, strings.HasPrefix(err.Error(), tt.want), "%v", err)
				if tt.is != nil {
					assert.ErrorIs(t, err, tt.is)
				}
				assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
				assert.Contains(t, log.String(), "component=c")
			})
		})
	}
}

// An asked error does something when it is asked what it is.
type asked struct{ by func(target error) bool }

func (asked) Error() string          { return "asked" }
func (e asked) Is(target error) bool { return e.by(target) }

// TestErrorsAreAskedByTheirOwnGoroutine: one that hangs or panics when it is asked what
// it is holds up its component, and nothing else, wherever it comes from.
func TestErrorsAreAskedByTheirOwnGoroutine(t *testing.T) {
	forever := make(chan struct{})
	for _, ask := range []struct {
		name string
		does func()
	}{
		{"hangs", func() { <-forever }},
		{"panics", func() { panic("again") }},
		{"calls Goexit", runtime.Goexit},
	} {
		for _, target := range []error{context.Canceled, context.DeadlineExceeded, drain.ErrCut} {
			e := asked{func(t error) bool {
				if t == target {
					ask.does()
				}
				return false
			}}
			told := func(ctx context.Context) error { <-ctx.Done(); return e }
			for op, c := range map[string]lifecycle.Component{
				"start": {Start: told},
				"run":   {Run: told},
				"drain": {Drain: told},
				"stop":  {Stop: told},
				"flush": {},
			} {
				t.Run(fmt.Sprint(op, "/", ask.name, " at ", target), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						forever = make(chan struct{})
						defer close(forever)
						d := newDiary()
						c.Name, c.DependsOn = "c", []string{"db"}
						a, _ := app(d.component("db"), c)
						want := "c"
						if op == "flush" {
							a.Flush, want = told, "flush"
						}
						t0 := time.Now().Add(time.Minute)
						err := runFor(t, a, time.Minute)
						assert.Less(t, time.Since(t0), 30*time.Second)
						named, ok := errors.AsType[*lifecycle.Error](err)
						require.True(t, ok, "%v", err)
						assert.Equal(t, want, named.Component)
						assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
					})
				})
			}
		}
	}
}

// TestPanicIsNotObedience: whatever a component panics with when it is told to stop.
func TestPanicIsNotObedience(t *testing.T) {
	told := func(ctx context.Context) error { <-ctx.Done(); panic(ctx.Err()) }
	for op, c := range map[string]lifecycle.Component{
		"start": {Start: told}, "run": {Run: told}, "drain": {Drain: told}, "stop": {Stop: told},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.Name = "c"
				a, _ := app(c)
				err := runFor(t, a, time.Minute)
				assert.ErrorContains(t, err, op+" c: panic: context ")
				want := 1
				if op == "start" {
					want = 3
				}
				assert.Equal(t, want, lifecycle.ExitCode(err))
			})
		})
	}
}

// A brokenListener breaks when it is closed.
type brokenListener struct{ net.Listener }

func (brokenListener) Close() error { panic("odd") }

// TestListenerOfALateStartThatPanics: its server has been left behind long since.
func TestListenerOfALateStartThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := lifecycle.HTTP("web", new(http.Server))
		web.Listen = func(context.Context) (net.Listener, error) {
			time.Sleep(2 * time.Minute)
			return brokenListener{memnet.Listen()}, nil
		}
		a, _ := app(web)
		err := runFor(t, a, time.Minute)
		assert.ErrorContains(t, err, "start web: lifecycle: not done by its deadline")
		time.Sleep(2 * time.Minute)
	})
}
