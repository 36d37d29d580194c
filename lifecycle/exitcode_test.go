// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestExitCodeIsOfThisApp: what a component has got from another App, and wraps,
// does not decide how this process is left.
func TestExitCodeIsOfThisApp(t *testing.T) {
	returns := func(err error) func(context.Context) error {
		return func(context.Context) error { return err }
	}
	for _, foreign := range []error{
		lifecycle.ErrConfig, lifecycle.ErrStart, lifecycle.ErrDeadline,
		fmt.Errorf("inner: %w", errors.Join(lifecycle.ErrStart, lifecycle.ErrDeadline, lifecycle.ErrConfig)),
		&lifecycle.Error{Component: "inner", Op: "stop", Err: lifecycle.ErrDeadline},
		innerError(t),
	} {
		for _, tt := range []struct {
			name string
			c    lifecycle.Component
			code int
		}{
			{"start", lifecycle.Component{Start: returns(foreign)}, 3},
			{"run", lifecycle.Component{Run: returns(foreign)}, 1},
			{"drain", lifecycle.Component{Drain: returns(foreign)}, 1},
			{"stop", lifecycle.Component{Stop: returns(foreign)}, 1},
			{"panic", lifecycle.Component{Stop: func(context.Context) error { panic(foreign) }}, 1},
		} {
			t.Run(tt.name+"/"+foreign.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tt.c.Name = "outer"
					a, _ := app(tt.c)
					err := runFor(t, a, time.Second)
					require.ErrorIs(t, err, foreign, "it is not lost")
					assert.Equal(t, tt.code, lifecycle.ExitCode(err))
					assert.Equal(t, tt.code, lifecycle.ExitCode(fmt.Errorf("main: %w", err)))
					assert.Equal(t, tt.code, a.Report().ExitStatus)
				})
			})
		}
	}
}

// innerError returns the error of an App of which a stop hangs.
func innerError(t *testing.T) (err error) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		a, _ := app(lifecycle.Component{Name: "inner", Stop: func(context.Context) error { <-release; return nil }})
		err = runFor(t, a, time.Second)
		require.Equal(t, 4, lifecycle.ExitCode(err))
		require.Equal(t, 4, lifecycle.ExitCode(fmt.Errorf("main: %w", errors.Join(err))))
	})
	return err
}

// TestErrorOfAStartThatIsInterruptedIsNotLost: its own error is one of the process,
// and that of its context is not.
func TestErrorOfAStartThatIsInterruptedIsNotLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  func(ctx context.Context) error
		want string
	}{
		{"its context's error", func(ctx context.Context) error { return ctx.Err() }, ""},
		{"its context's cause", context.Cause, ""},
		{"one that wraps it", func(ctx context.Context) error { return fmt.Errorf("dial: %w", ctx.Err()) }, ""},
		{"a cancellation below it", func(context.Context) error { return context.Canceled }, ""},
		{"an error of its own", func(context.Context) error { return errors.New("schema is broken") }, "lifecycle: start failed: start db: schema is broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := app(lifecycle.Component{Name: "db", Start: func(ctx context.Context) error {
					<-ctx.Done()
					return tt.err(ctx)
				}})
				err := runFor(t, a, time.Second)
				assert.Equal(t, "signal: test", a.Report().Reason)
				if tt.want == "" {
					assert.NoError(t, err)
					return
				}
				require.EqualError(t, err, tt.want)
				assert.Equal(t, 3, lifecycle.ExitCode(err))
				assert.Equal(t, []string{tt.want}, a.Report().Errors)
				assert.Equal(t, "failed", a.Report().Components[0].Fate)
			})
		})
	}
}
