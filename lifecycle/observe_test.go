// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// brief says an event in a few words.
func brief(e lifecycle.Event) string {
	s := e.Instant
	if e.Component != "" {
		s += " " + e.Component
	}
	if e.Took != 0 {
		s += fmt.Sprintf(" %v", e.Took)
	}
	if e.Reason != "" {
		s += " " + e.Reason
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	return s
}

func TestObserversAreToldEveryInstantInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		bad := d.component("bad", "db")
		bad.Stop = func(context.Context) error { return errors.New("no") }
		a, _ := app(d.component("db"), bad)
		a.Flush = func(context.Context) error { time.Sleep(time.Millisecond); return nil }
		var first, second []string
		var report *lifecycle.Report
		a.Observers = []func(lifecycle.Event){
			func(e lifecycle.Event) { first = append(first, brief(e)); report = e.Report },
			func(e lifecycle.Event) { time.Sleep(time.Microsecond); second = append(second, brief(e)) },
		}
		err := runFor(t, a, time.Minute)
		require.EqualError(t, err, "stop bad: no")
		assert.Equal(t, []string{
			"Starting",
			"ComponentStarted db 1s",
			"ComponentStarted bad 1s",
			"Started 2s",
			"ShutdownInitiated 1m0s signal: test",
			"ComponentFailed bad: stop bad: no",
			"ComponentStopped bad",
			"ComponentStopped db 2s",
			"ComponentsStopped 2s",
			"Flushed 2.001s",
			"Exited 2.001s: stop bad: no",
		}, first)
		assert.Equal(t, first, second)
		assert.Same(t, a.Report(), report)
	})
}

func TestObserverThatHangsOrBreaksChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		observe func(lifecycle.Event)
		took    time.Duration // longer than without the observer
		want    string
	}{
		{"hangs", nil, time.Second, "it has not returned"},
		{"panics", func(lifecycle.Event) { panic("odd") }, 0, "panic: odd"},
		{"goexit", func(lifecycle.Event) { runtime.Goexit() }, 0, "runtime.Goexit was called"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				if tt.observe == nil {
					tt.observe = func(lifecycle.Event) { <-release }
				}
				d := newDiary()
				a, log := app(d.component("db"))
				told := 0
				a.Observers = []func(lifecycle.Event){tt.observe, func(lifecycle.Event) { told++ }}
				t0 := time.Now()
				require.NoError(t, runFor(t, a, time.Minute))
				assert.Equal(t, time.Minute+2*time.Second+tt.took, time.Since(t0))
				assert.Equal(t, []string{"1s db started", "1m2s db stopped"}, d.lines())
				assert.Equal(t, 7, told, "the other one is told everything")
				assert.Contains(t, log.String(), "observer has not been told everything")
				assert.Contains(t, log.String(), tt.want)
				assert.Contains(t, log.String(), "TestObserverThatHangsOrBreaksChangesNothing", "it is named")
			})
		})
	}
}

// A brokenLog is a log handler that does as it is told, but for the first line.
type brokenLog struct {
	slog.Handler
	lines *atomic.Int32
	do    func()
}

func (h brokenLog) Handle(ctx context.Context, r slog.Record) error {
	if h.lines.Add(1) == 2 {
		h.do()
	}
	return h.Handler.Handle(ctx, r)
}

func TestLogThatHangsOrBreaksChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func()
		took  time.Duration
		lines int32
	}{
		{"hangs", nil, time.Second + 50*time.Millisecond, 2},
		{"panics", func() { panic("odd") }, 0, 5},
		{"goexit", runtime.Goexit, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				if tt.do == nil {
					tt.do = func() { <-release }
				}
				d := newDiary()
				a, _ := app(d.component("db"))
				a.Probes = &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
				var lines atomic.Int32
				a.Logger = slog.New(brokenLog{slog.NewTextHandler(t.Output(), nil), &lines, tt.do})
				t0 := time.Now()
				require.NoError(t, runFor(t, a, time.Minute))
				assert.Equal(t, time.Minute+2*time.Second+tt.took, time.Since(t0))
				assert.Equal(t, []string{"1s db started", "1m2s db stopped"}, d.lines())
				assert.Equal(t, tt.lines, lines.Load())
			})
		})
	}
}

// TestGoodbyeEndsWithTheGracePeriod: an observer that hangs is waited for no longer
// than that, though its second is not over.
func TestGoodbyeEndsWithTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		a, _ := app()
		a.GracePeriod = 400 * time.Millisecond // of which 100 ms are the reserve, and a quarter of that is left
		a.Flush = func(context.Context) error { <-release; return nil }
		a.Observers = append(a.Observers, func(lifecycle.Event) { <-release })
		t0 := time.Now()
		require.ErrorIs(t, runFor(t, a, time.Second), lifecycle.ErrDeadline)
		assert.Equal(t, time.Second+375*time.Millisecond, time.Since(t0))
	})
}

// An oddHandler calls do whenever it is asked what is enabled.
type oddHandler struct {
	slog.Handler
	do func()
}

func (h oddHandler) Enabled(context.Context, slog.Level) bool { h.do(); return true }

// TestLogThatHangsOrBreaksWhenAskedChangesNothing: not only Handle is a handler's own.
func TestLogThatHangsOrBreaksWhenAskedChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func()
	}{{"hangs", nil}, {"panics", func() { panic("odd") }}, {"goexit", runtime.Goexit}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				if tt.do == nil {
					tt.do = func() { <-release }
				}
				d := newDiary()
				a, _ := app(d.component("db"))
				a.Logger = slog.New(oddHandler{slog.NewTextHandler(t.Output(), nil), tt.do})
				require.NoError(t, runFor(t, a, time.Minute))
				assert.Equal(t, []string{"1s db started", "1m2s db stopped"}, d.lines())
			})
		})
	}
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		d := newDiary()
		hung := d.component("hung", "db")
		hung.Stop = func(context.Context) error { <-release; return nil }
		a, log := app(d.component("db"), hung, lifecycle.Component{Name: "never", DependsOn: []string{"bad"}},
			lifecycle.Component{Name: "bad", DependsOn: []string{"hung"}, Start: func(context.Context) error { return errors.New("no") }})
		assert.Nil(t, a.Report(), "nothing to report")
		err := runFor(t, a, time.Minute)
		r := a.Report()

		assert.Equal(t, "lifecycle: start failed: start bad: no", r.Reason)
		assert.Equal(t, 4, r.ExitStatus)
		assert.Equal(t, lifecycle.ExitCode(err), r.ExitStatus)
		assert.Equal(t, []string{"lifecycle: start failed: start bad: no", "stop hung: lifecycle: not done by its deadline"}, r.Errors)
		assert.Equal(t, 2*time.Second, r.Up)
		assert.Equal(t, 16*time.Second, r.Took)
		assert.Equal(t, []lifecycle.PhaseReport{
			{Name: "accept window", By: 0},
			{Name: "drain", By: 23 * time.Second},
			{Name: "components", Took: 16 * time.Second, Ended: 16 * time.Second, By: 28 * time.Second},
			{Name: "flush", Ended: 16 * time.Second, By: 29 * time.Second},
			{Name: "exit", Ended: 16 * time.Second, By: 29500 * time.Millisecond},
		}, r.Phases)
		assert.Contains(t, r.Components[1].Stacks, "TestReport")
		r.Components[1].Stacks = ""
		assert.Equal(t, []lifecycle.ComponentReport{
			{Name: "db", Start: time.Second, Stop: 2 * time.Second, Fate: "stopped"},
			{Name: "hung", Start: time.Second, Stop: 14 * time.Second, Fate: "left behind"},
			{Name: "never", Fate: "not started"},
			{Name: "bad", Fate: "failed"},
		}, r.Components)
		const line = "lifecycle: start failed: start bad: no: took 16s of 28s, accept window 0s, drain 0s, components 16s, flush 0s, exit 0s; " +
			"slowest hung 14s, db 2s; requests served 0, clients told 0, cut 0; exit status 4"
		assert.Equal(t, line, r.String())
		assert.Contains(t, log.String(), line)

		text, err := json.Marshal(r)
		require.NoError(t, err)
		assert.Contains(t, string(text), `"phases":[{"name":"accept window","took_ns":0,`)
		var back lifecycle.Report
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, *r, back)
	})
}

// TestStacksAreOfTheComponentAlone: what waits for it, and what has waited for it, is
// not a part of it.
func TestStacksAreOfTheComponentAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		hang := func(context.Context) error { <-release; return nil }
		nothing := func(context.Context) error { return nil }
		a, _ := app(
			lifecycle.Component{Name: "db", Start: nothing, Stop: hang},
			lifecycle.Component{Name: "web", DependsOn: []string{"db"}, Run: hang},
			lifecycle.Component{Name: "last", DependsOn: []string{"web"}, Run: hang},
		)
		require.ErrorIs(t, runFor(t, a, time.Minute), lifecycle.ErrDeadline)
		for _, c := range a.Report().Components {
			assert.Equal(t, 1, strings.Count(c.Stacks, "# labels: "), c.Stacks)
			assert.Regexp(t, `^1 @ `, c.Stacks, "one goroutine")
		}
	})
}

// TestDebugLinesFollowTheLevel: also when it changes while the process runs.
func TestDebugLinesFollowTheLevel(t *testing.T) {
	for _, tt := range []struct {
		atStart, later   slog.Level
		started, stopped bool
	}{
		{slog.LevelInfo, slog.LevelInfo, false, false},
		{slog.LevelDebug, slog.LevelDebug, true, true},
		{slog.LevelInfo, slog.LevelDebug, false, true},
		{slog.LevelDebug, slog.LevelInfo, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDiary()
			a, log := app(d.component("db"))
			var level slog.LevelVar
			level.Set(tt.atStart)
			a.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: &level}))
			time.AfterFunc(30*time.Second, func() { level.Set(tt.later) })
			require.NoError(t, runFor(t, a, time.Minute))
			assert.Equal(t, tt.started, strings.Contains(log.String(), `msg="component started" component=db`), "%v", tt)
			assert.Equal(t, tt.stopped, strings.Contains(log.String(), `msg="component stopped" component=db`), "%v", tt)
		})
	}
}

// TestDebugLinesCostNothingWhereTheyAreNotWanted: they are not even made.
func TestDebugLinesCostNothingWhereTheyAreNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("db"))
		asked := make(map[slog.Level]int)
		a.Logger = slog.New(countingLog{slog.DiscardHandler, asked})
		require.NoError(t, runFor(t, a, time.Minute))
		assert.Positive(t, asked[slog.LevelInfo])
		assert.Equal(t, asked[slog.LevelInfo], asked[slog.LevelDebug], "once with each line")
	})
}

// A countingLog counts what is asked of it.
type countingLog struct {
	slog.Handler
	asked map[slog.Level]int // by one goroutine
}

func (h countingLog) Enabled(_ context.Context, level slog.Level) bool {
	h.asked[level]++
	return level >= slog.LevelInfo
}
