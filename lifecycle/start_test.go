// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func TestFailedStartIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		bad := d.component("bad", "db")
		bad.Start = func(context.Context) error { time.Sleep(time.Second); return errors.New("no route") }
		a, _ := app(d.component("db"), bad, d.component("web", "bad"), d.component("cache"))
		err := a.Run(t.Context())
		require.EqualError(t, err, "lifecycle: start failed: start bad: no route")
		assert.Equal(t, 3, lifecycle.ExitCode(err))
		assert.ElementsMatch(t, []string{"1s db started", "1s cache started", "4s db stopped", "4s cache stopped"}, d.lines())
	})
}

func TestSignalDuringStartUndoesWhatHasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		slow := d.component("slow", "db")
		slow.Start = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		a, _ := app(d.component("db"), slow, d.component("web", "slow"))
		require.NoError(t, runFor(t, a, 5*time.Second))
		assert.Equal(t, []string{"1s db started", "7s db stopped"}, d.lines())
	})
}

// TestProbesNameWhatIsStillStarting, and not what waits for it: for as long as that
// takes, in a program that expects a step of that name too.
func TestProbesNameWhatIsStillStarting(t *testing.T) {
	for _, expected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			takes := func(d time.Duration) func(context.Context) error {
				return func(context.Context) error { time.Sleep(d); return nil }
			}
			a, log := app(
				lifecycle.Component{Name: "web", DependsOn: []string{"db"}, Start: takes(time.Millisecond)},
				lifecycle.Component{Name: "db", Start: takes(time.Minute)},
				lifecycle.Component{Name: "cache", Start: takes(time.Second)},
				lifecycle.Component{Name: "worker", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			)
			a.Probes = &probes.Registry{Logger: a.Logger}
			if expected {
				done, err := a.Probes.Expect("db")
				require.NoError(t, err)
				time.AfterFunc(time.Minute, done)
			}
			early := "not ready: starting"
			if expected {
				early = "not ready: starting, missing: db"
			}
			for at, want := range map[time.Duration]string{
				1900 * time.Millisecond:   early,
				2100 * time.Millisecond:   "not ready: starting, missing: db",
				59 * time.Second:          "not ready: starting, missing: db",
				time.Minute + time.Second: "",
			} {
				time.AfterFunc(at, func() { assert.Equal(t, want, a.Probes.Status().Reason, at) })
			}
			require.NoError(t, runFor(t, a, 2*time.Minute))
			assert.Equal(t, 1, strings.Count(log.String(), "still starting"), log)
			assert.Contains(t, log.String(), `msg="component is still starting" component=db`)
		})
	}
}

// TestNameOfALateStartIsThePrograms: it may expect a step of that name, during the start
// or after it, and however long that has taken.
func TestNameOfALateStartIsThePrograms(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := app(
				lifecycle.Component{Name: "db", Start: func(context.Context) error { time.Sleep(4 * time.Second); return nil }},
				lifecycle.Component{Name: "beside", Start: func(context.Context) error { time.Sleep(10 * time.Second); return nil }},
			)
			a.Probes = &probes.Registry{Logger: a.Logger}
			time.AfterFunc(after, func() {
				done, err := a.Probes.Expect("db")
				if !assert.NoError(t, err, after) {
					return
				}
				time.AfterFunc(20*time.Second, done)
				_, err = a.Probes.Expect("db")
				assert.ErrorIs(t, err, probes.ErrInvalid, "it is the program's now")
			})
			for at, want := range map[time.Duration]string{
				6 * time.Second:                          "not ready: starting, missing: db, beside",
				after + 20*time.Second - time.Nanosecond: "not ready: starting, missing: db",
				after + 20*time.Second + time.Nanosecond: "",
			} {
				time.AfterFunc(at, func() { assert.Equal(t, want, a.Probes.Status().Reason, at) })
			}
			require.NoError(t, runFor(t, a, time.Minute))
		})
	}
}

// TestStartThatIsInterruptedIsNotNamed: the shutdown has begun.
func TestStartThatIsInterruptedIsNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := app(lifecycle.Component{Name: "db", Start: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(2 * time.Second) // it takes its time
			return ctx.Err()
		}})
		a.Probes = &probes.Registry{Logger: a.Logger}
		require.NoError(t, runFor(t, a, time.Second))
		assert.NotContains(t, log.String(), "still starting")
		assert.Equal(t, "not ready: shutting down", a.Probes.Status().Reason)
	})
}
