// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func TestComponentWithoutFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "a"}, lifecycle.Component{Name: "b", DependsOn: []string{"a", "a"}})
		require.NoError(t, runFor(t, a, time.Second))
		assert.Equal(t, "stopped", a.Report().Components[1].Fate)
	})
}

func TestAppWithoutComponentsWaitsForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		t0 := time.Now()
		require.NoError(t, runFor(t, a, time.Second))
		assert.Equal(t, time.Second, time.Since(t0))
	})
}

func TestNilContextIsInvalid(t *testing.T) {
	a, _ := app()
	var none context.Context
	assert.EqualError(t, a.Run(none), "invalid configuration: the context is nil")
	_, err := (*lifecycle.App)(nil).Plan()
	assert.EqualError(t, err, "invalid configuration: the App is nil")
}

// TestAbsurdDurations: they are refused, whatever their sum overflows to, or do
// what they say.
func TestAbsurdDurations(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for _, tt := range []struct {
		name                    string
		grace, preStop, reserve time.Duration
		valid                   bool
	}{
		{"a nanosecond", 1, 0, 0, false},
		{"a millisecond", time.Millisecond, 0, 0, false},
		{"a little less than the least", 20*time.Millisecond - 1, 0, 0, false},
		{"the least", 20 * time.Millisecond, 0, 0, true},
		{"a hook of all", time.Second, time.Second, 0, false},
		{"a hook of all but the least", time.Second, time.Second - 20*time.Millisecond, 10 * time.Millisecond, true},
		{"a reserve beyond all", time.Second, 0, 2 * time.Second, false},
		{"a reserve of all but a nanosecond", time.Second, 0, time.Second - 1, false},
		{"for ever", most, 0, 0, true},
		{"for ever but a hook's time", most, most - time.Second, 1, true},
		{"a reserve for ever", 0, 0, most, false},
		{"a hook for ever", 0, most, 0, false},
		{"a hook and a reserve for ever", 0, most, most, false},
		{"all for ever", most, most, most, false},
		{"a reserve of all", time.Second, 0, time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopped := false
				a, _ := app(lifecycle.Component{Name: "a", Stop: func(context.Context) error { stopped = true; return nil }})
				a.GracePeriod, a.PreStop, a.Reserve = tt.grace, tt.preStop, tt.reserve
				err := runFor(t, a, time.Second)
				if !tt.valid {
					require.ErrorIs(t, err, lifecycle.ErrConfig)
					assert.ErrorContains(t, err, "is too short: ")
					return
				}
				require.NotErrorIs(t, err, lifecycle.ErrConfig)
				synctest.Wait()
				assert.True(t, stopped)
			})
		})
	}
}

func TestSecondRunInsideTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a *lifecycle.App
		a, _ = app(lifecycle.Component{Name: "a", Start: func(ctx context.Context) error { return a.Run(ctx) }})
		err := a.Run(t.Context())
		assert.EqualError(t, err, "start failed: start a: invalid configuration: the App has been run before")
	})
}

func TestManyRunsAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("db"))
		var group sync.WaitGroup
		errs := make([]error, 50)
		for i := range errs {
			group.Go(func() { errs[i] = runFor(t, a, time.Minute) })
		}
		group.Wait()
		ran := 0
		for _, err := range errs {
			if err == nil {
				ran++
				continue
			}
			assert.EqualError(t, err, "invalid configuration: the App has been run before")
		}
		assert.Equal(t, 1, ran)
		assert.Equal(t, []string{"1s db started", "1m2s db stopped"}, d.lines())
	})
}

func TestAppCanRunAfterItsConfigurationIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{})
		require.ErrorIs(t, runFor(t, a, time.Second), lifecycle.ErrConfig)
		a.Components[0].Name = "a"
		assert.NoError(t, runFor(t, a, time.Second))
	})
}

func TestComponentAddedWhileItRunsIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		var a *lifecycle.App
		late := d.component("late")
		a, _ = app(lifecycle.Component{Name: "a", Start: func(context.Context) error {
			a.Components = append(a.Components, late)
			return nil
		}})
		require.NoError(t, runFor(t, a, time.Minute))
		assert.Empty(t, d.lines())
	})
}

func TestShutdownBeforeRunStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, log := app(d.component("db"))
		a.Shutdown("not today")
		t0 := time.Now()
		require.NoError(t, a.Run(t.Context()))
		assert.Zero(t, time.Since(t0))
		assert.Empty(t, d.lines())
		assert.Equal(t, "not today", a.Report().Reason)
		assert.Equal(t, "not started", a.Report().Components[0].Fate)
		assert.Contains(t, log.String(), `reason="not today"`)
		assert.NotContains(t, log.String(), "Started")
	})
}

func TestContextThatIsOverStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("db"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, a.Run(ctx))
		assert.Empty(t, d.lines())
	})
}

func TestShutdownAfterRunDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		require.NoError(t, runFor(t, a, time.Second))
		a.Shutdown("late")
		assert.Equal(t, "signal: test", a.Report().Reason)
	})
}

// TestShutdownFromAnywhere: the reason is the first one, nothing waits for itself,
// and what has started is stopped.
func TestShutdownFromAnywhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		place func(a *lifecycle.App, c *lifecycle.Component, down func())
		lines []string
	}{
		{"a start", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Start = func(context.Context) error { down(); return nil }
		}, []string{"3s db stopped"}},
		{"a run", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error { down(); <-ctx.Done(); return nil }
		}, []string{"3s db stopped"}},
		{"a readiness check", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Ready = func(context.Context) error { down(); return nil }
		}, []string{"3s db stopped"}},
		{"a liveness check", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Probes = &probes.Registry{Logger: a.Logger}
			a.Probes.AddLiveness("own", func() error { time.Sleep(time.Second); down(); return nil })
		}, []string{"3s db stopped"}},
		{"an observer", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Observers = append(a.Observers, func(e lifecycle.Event) {
				if e.Instant == "Started" {
					down()
				}
			})
		}, []string{"3s db stopped"}},
		{"an observer, at once", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Observers = append(a.Observers, func(e lifecycle.Event) { down() })
		}, nil},
		{"many goroutines", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error {
				var group sync.WaitGroup
				for range 100 {
					group.Go(down)
				}
				group.Wait()
				<-ctx.Done()
				return nil
			}
		}, []string{"3s db stopped"}},
		{"a stop, when it is too late", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error { down(); <-ctx.Done(); return nil }
			c.Stop = func(context.Context) error { a.Shutdown("late"); return nil }
			a.Flush = func(context.Context) error { a.Shutdown("later"); return nil }
		}, []string{"3s db stopped"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				c := lifecycle.Component{Name: "c", DependsOn: []string{"db"}}
				a, _ := app()
				tt.place(a, &c, func() { a.Shutdown("enough"); a.Shutdown("more than enough") })
				a.Components = []lifecycle.Component{d.component("db"), c}
				require.NoError(t, a.Run(t.Context()))
				assert.Equal(t, "enough", a.Report().Reason)
				for _, line := range tt.lines {
					assert.Contains(t, d.lines(), line)
				}
			})
		})
	}
}

func TestShutdownWithoutAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		a.Shutdown("")
		require.NoError(t, a.Run(t.Context()))
		assert.Equal(t, "Shutdown was called", a.Report().Reason)
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
		{"panic whose text hangs", func(release chan struct{}) error { panic(hostile{func() { <-release }}) }, "stop c: not done by its deadline", lifecycle.ErrDeadline},
		{"panic whose text calls Goexit", func(chan struct{}) error { panic(hostile{runtime.Goexit}) }, "stop c: runtime.Goexit was called", nil},
		{"error whose text panics", func(chan struct{}) error { return hostile{func() { panic("again") }} }, "stop c: panic: again", nil},
		{"error whose text hangs", func(release chan struct{}) error { return hostile{func() { <-release }} }, "stop c: not done by its deadline", lifecycle.ErrDeadline},
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

// TestOddNames: the stacks of a component are found whatever its name is, and are
// not those of another one.
func TestOddNames(t *testing.T) {
	names := []string{`a"b`, "a\nb", "a\n\nb", `"lameduck.component":"db"`, "ü", " ", "a, b", "\x00\xff", strings.Repeat("long", 500)}
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		components := []lifecycle.Component{{Name: "db", Stop: func(context.Context) error { return nil }}}
		for _, name := range names {
			components = append(components, lifecycle.Component{Name: name, Stop: func(context.Context) error { <-release; return nil }})
		}
		a, _ := app(components...)
		err := runFor(t, a, time.Second)
		for i, name := range names {
			assert.ErrorContains(t, err, "stop "+name+": not done by its deadline")
			assert.Contains(t, a.Report().Components[i+1].Stacks, "TestOddNames", "%q", name)
		}
	})
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

// TestCauseThatHangsOrBreaks: the cause of the context's end is anybody's.
func TestCauseThatHangsOrBreaks(t *testing.T) {
	for name, tt := range map[string]struct {
		does func(forever <-chan struct{})
		want string
	}{
		"hangs":        {func(forever <-chan struct{}) { <-forever }, "not known: its text is not to be had"},
		"panics":       {func(<-chan struct{}) { panic("again") }, "panic: again"},
		"calls Goexit": {func(<-chan struct{}) { runtime.Goexit() }, "runtime.Goexit was called"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever := make(chan struct{})
				defer close(forever)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { cancel(hostile{func() { tt.does(forever) }}) })
				d := newDiary()
				a, _ := app(d.component("db"))
				require.NoError(t, a.Run(ctx))
				assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
				assert.Contains(t, a.Report().Reason, tt.want)
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
		assert.ErrorContains(t, err, "start web: not done by its deadline")
		time.Sleep(2 * time.Minute)
	})
}
