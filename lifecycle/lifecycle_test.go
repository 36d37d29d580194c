// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// A diary notes what components do, and when.
type diary struct {
	t0 time.Time
	mu sync.Mutex
	b  []string
}

func newDiary() *diary { return &diary{t0: time.Now()} }

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.b = append(d.b, fmt.Sprintf("%v ", time.Since(d.t0))+fmt.Sprintf(format, args...))
}

func (d *diary) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.b...)
}

// component returns one that takes a second to start and two to stop, and notes
// when it has.
func (d *diary) component(name string, dependsOn ...string) lifecycle.Component {
	return lifecycle.Component{
		Name:      name,
		DependsOn: dependsOn,
		Start: func(context.Context) error {
			time.Sleep(time.Second)
			d.note("%s started", name)
			return nil
		},
		Stop: func(context.Context) error {
			time.Sleep(2 * time.Second)
			d.note("%s stopped", name)
			return nil
		},
	}
}

// app returns an App of the components that logs into the buffer.
func app(components ...lifecycle.Component) (*lifecycle.App, *bytes.Buffer) {
	var log bytes.Buffer
	return &lifecycle.App{
		Components: components,
		Logger:     slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

// runFor runs the App and ends its context after d.
func runFor(t *testing.T, a *lifecycle.App, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errors.New("signal: test"))
	defer cancel()
	return a.Run(ctx)
}

func TestOrderFollowsDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, log := app(d.component("orders", "db"), d.component("web", "orders", "users"), d.component("db"), d.component("users", "db"))
		require.NoError(t, runFor(t, a, time.Minute))
		got := d.lines()
		require.Len(t, got, 8)
		assert.Equal(t, "1s db started", got[0])
		assert.ElementsMatch(t, []string{"2s orders started", "2s users started"}, got[1:3])
		assert.Equal(t, "3s web started", got[3])
		assert.Equal(t, "1m2s web stopped", got[4])
		assert.ElementsMatch(t, []string{"1m4s orders stopped", "1m4s users stopped"}, got[5:7])
		assert.Equal(t, "1m6s db stopped", got[7])
		assert.Contains(t, log.String(), `reason="signal: test"`)
	})
}

func TestReadinessIsOffFromT0AndLivenessStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := new(probes.Registry)
		ask := func(h http.Handler) int {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			return rec.Code
		}
		states := func() [3]int {
			return [3]int{ask(reg.StartupHandler()), ask(reg.LiveHandler()), ask(reg.ReadyHandler())}
		}
		a, _ := app(lifecycle.Component{
			Name:  "db",
			Start: func(context.Context) error { assert.Equal(t, [3]int{503, 200, 503}, states()); return nil },
			Stop:  func(context.Context) error { assert.Equal(t, [3]int{200, 200, 503}, states()); return nil },
			Ready: func(context.Context) error { return nil },
		})
		a.Probes = reg
		time.AfterFunc(10*time.Second, func() { assert.Equal(t, [3]int{200, 200, 200}, states()) })
		require.NoError(t, runFor(t, a, time.Minute))
		assert.Equal(t, [3]int{200, 200, 503}, states())
	})
}

func TestComponentThatEndsBeginsTheShutdown(t *testing.T) {
	broken := errors.New("broken pipe dream")
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"without an error", nil, 0, ""},
		{"with an error", broken, 1, "run worker: broken pipe dream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				a, log := app(d.component("db"), lifecycle.Component{
					Name:      "worker",
					DependsOn: []string{"db"},
					Run:       func(context.Context) error { time.Sleep(time.Hour); return tt.err },
				})
				err := a.Run(t.Context())
				assert.Equal(t, tt.code, lifecycle.ExitCode(err))
				assert.Equal(t, []string{"1s db started", "1h0m3s db stopped"}, d.lines())
				assert.Contains(t, log.String(), "worker")
				if tt.want == "" {
					require.NoError(t, err)
					return
				}
				require.EqualError(t, err, tt.want)
				require.ErrorIs(t, err, broken)
				e, ok := errors.AsType[*lifecycle.Error](err)
				require.True(t, ok)
				assert.Equal(t, "worker", e.Component)
			})
		})
	}
}

func TestRunContextLivesUntilItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("web", "worker"), lifecycle.Component{
			Name: "worker",
			Run: func(ctx context.Context) error {
				<-ctx.Done()
				d.note("worker told")
				return ctx.Err()
			},
			Stop: func(context.Context) error { d.note("worker's Stop"); return nil },
		})
		require.NoError(t, runFor(t, a, time.Minute))
		assert.ElementsMatch(t, []string{"1s web started", "1m2s web stopped", "1m2s worker told", "1m2s worker's Stop"}, d.lines())
	})
}

func TestFailedStartIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		bad := d.component("bad", "db")
		bad.Start = func(context.Context) error { time.Sleep(time.Second); return errors.New("no route") }
		a, _ := app(d.component("db"), bad, d.component("web", "bad"), d.component("cache"))
		err := a.Run(t.Context())
		require.EqualError(t, err, "start failed: start bad: no route")
		assert.Equal(t, 3, lifecycle.ExitCode(err))
		assert.ElementsMatch(t, []string{"1s db started", "1s cache started", "4s db stopped", "4s cache stopped"}, d.lines())
	})
}

func TestCheckWaitsForItsStartAndPassesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var db *diary
		a, log := app(lifecycle.Component{
			Name:  "db",
			Start: func(context.Context) error { time.Sleep(time.Minute); db = newDiary(); return nil },
			Ready: func(context.Context) error { db.note("asked"); return nil }, // panics before the start
		})
		require.NoError(t, runFor(t, a, time.Minute+time.Second))
		assert.Equal(t, []string{"0s asked"}, db.lines())
		assert.NotContains(t, log.String(), "failing")
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

func TestReadinessNamesTheRootCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(context.Context) error { return nil }
		a, _ := app(
			lifecycle.Component{Name: "web", DependsOn: []string{"orders", "users"}, Ready: pass},
			lifecycle.Component{Name: "orders", DependsOn: []string{"pool"}, Ready: pass},
			lifecycle.Component{Name: "users", DependsOn: []string{"pool", "db"}, Ready: pass},
			lifecycle.Component{Name: "pool", DependsOn: []string{"db"}}, // nothing to ask
			lifecycle.Component{Name: "db", Ready: func(context.Context) error { return errors.New("down") }},
		)
		a.Probes = &probes.Registry{Logger: a.Logger}
		time.AfterFunc(time.Minute/2, func() {
			assert.Equal(t, "not ready: db; skipped: orders, users, web", a.Probes.Status().Reason)
		})
		require.NoError(t, runFor(t, a, time.Minute))
	})
}

func TestCheckNameThatIsTakenFailsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(context.Context) error { return nil }
		d := newDiary()
		c := d.component("db")
		c.Ready = pass
		a, _ := app(c)
		a.Probes = new(probes.Registry)
		require.NoError(t, a.Probes.AddReadiness(probes.Check{Name: "db", Func: pass}))
		err := a.Run(t.Context())
		require.ErrorIs(t, err, lifecycle.ErrStart)
		assert.ErrorContains(t, err, `there is a readiness check "db" already`)
		assert.Equal(t, []string{"1s db started", "3s db stopped"}, d.lines())
	})
}

func TestPanicOfAnyCheckIsAnErrorAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "queue", Ready: func(context.Context) error { runtime.Goexit(); return nil }})
		a.Probes = &probes.Registry{Logger: a.Logger}
		require.NoError(t, a.Probes.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error { panic("odd") }}))
		err := runFor(t, a, time.Minute)
		require.EqualError(t, err, "check db: panic: odd\ncheck queue: runtime.Goexit called")
		assert.Equal(t, 1, lifecycle.ExitCode(err))
	})
}

func TestNilAppIsInvalid(t *testing.T) {
	assert.EqualError(t, (*lifecycle.App)(nil).Run(t.Context()), "invalid configuration: the App is nil")
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

// whatHangs are components that never come to an end, and what the report says.
func whatHangs(release <-chan struct{}) []struct {
	name string
	c    lifecycle.Component
	want string
} {
	hang := func(context.Context) error { <-release; return nil }
	return []struct {
		name string
		c    lifecycle.Component
		want string
	}{
		{"start", lifecycle.Component{Start: hang}, "start guilty: not done by its deadline"},
		{"run", lifecycle.Component{Run: hang}, "run guilty: not done by its deadline"},
		{"stop", lifecycle.Component{Stop: hang}, "stop guilty: not done by its deadline"},
	}
}

func TestWhatHangsIsLeftBehindAndNamed(t *testing.T) {
	for _, tt := range whatHangs(nil) {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				guilty := lifecycle.Component{}
				for _, h := range whatHangs(release) {
					if h.name == tt.name {
						guilty = h.c
					}
				}
				guilty.Name, guilty.DependsOn = "guilty", []string{"db"}
				d := newDiary()
				a, log := app(guilty, d.component("db"), d.component("other"))
				t0 := time.Now()
				err := runFor(t, a, time.Minute)
				took := time.Since(t0) - time.Minute
				close(release)

				require.EqualError(t, err, tt.want)
				assert.ErrorIs(t, err, lifecycle.ErrDeadline)
				assert.Equal(t, 4, lifecycle.ExitCode(err))
				// guilty has half of the 28 s, because db below it has to stop too.
				assert.Equal(t, 16*time.Second, took)
				assert.Subset(t, d.lines(), []string{"1m2s other stopped", "1m16s db stopped"})
				assert.Contains(t, log.String(), "component=guilty")
				assert.Contains(t, log.String(), "whatHangs", "the log has the stack of what hangs")
			})
		})
	}
}

func TestEveryHangInAChainIsNamedBeforeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		a, _ := app(
			lifecycle.Component{Name: "a", DependsOn: []string{"b"}, Stop: hang},
			lifecycle.Component{Name: "b", DependsOn: []string{"c"}, Stop: hang},
			lifecycle.Component{Name: "c", DependsOn: []string{"d"}, Stop: hang},
			lifecycle.Component{Name: "d", Stop: hang},
		)
		a.Flush = hang
		t0 := time.Now()
		err := runFor(t, a, time.Minute)
		took := time.Since(t0) - time.Minute
		close(release)
		for _, name := range []string{"stop a", "stop b", "stop c", "stop d", "stop flush"} {
			assert.ErrorContains(t, err, name+": not done by its deadline")
		}
		assert.Equal(t, 29*time.Second, took, "28 s, and half of the reserve for Flush")
	})
}

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

func TestInvalidConfiguration(t *testing.T) {
	started := false
	start := func(context.Context) error { started = true; return nil }
	shared := new(http.Server)
	server := func(floor time.Duration) *drain.Server {
		return &drain.Server{HTTP: new(http.Server), Floor: floor}
	}
	tests := []struct {
		name string
		env  [2]string
		app  lifecycle.App
		want string
	}{
		{"no name", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Start: start}}},
			"component 0 has no name"},
		{"the name of Flush", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "flush", Start: start}}},
			`component 0: the name "flush" is that of a part of every App`},
		{"the name of the probe listener", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "probes", Start: start}}},
			`component 0: the name "probes" is that of a part of every App`},
		{"duplicate name", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "a", Start: start}, {Name: "a"}}},
			`duplicate name "a"`},
		{"unknown dependency", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "a", DependsOn: []string{"b"}, Start: start}}},
			`"a" depends on "b", which does not exist`},
		{"cycle", [2]string{}, lifecycle.App{Components: []lifecycle.Component{
			{Name: "a", DependsOn: []string{"b"}, Start: start}, {Name: "b", DependsOn: []string{"a"}}}},
			"dependency cycle: a -> b -> a"},
		{"nil server", [2]string{}, lifecycle.App{Components: []lifecycle.Component{lifecycle.HTTP("web", nil)}},
			`component "web": the server is nil`},
		{"one server twice", [2]string{}, lifecycle.App{Components: []lifecycle.Component{lifecycle.HTTP("a", shared), lifecycle.HTTP("b", shared)}},
			`components "a" and "b" have the same server`},
		{"server with a start", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Server: server(0), Start: start}}},
			`component "web": a server has no Start, Run or Stop of its own`},
		{"server with a drain", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Server: server(0), Drain: start}}},
			`component "web": a server has no Drain of its own`},
		{"listener without a server", [2]string{}, lifecycle.App{Components: []lifecycle.Component{{Name: "web", Listen: func(context.Context) (net.Listener, error) { return nil, nil }}}},
			`component "web": Listen is for a Server, and there is none`},
		{"nil observer", [2]string{}, lifecycle.App{Observers: []func(lifecycle.Event){func(lifecycle.Event) {}, nil}}, "observer 1 is nil"},
		{"pre-stop endpoint without a listener", [2]string{}, lifecycle.App{PreStopToken: "secret"}, "the pre-stop endpoint needs ProbeAddr"},
		{"a token with a line's end", [2]string{}, lifecycle.App{PreStopToken: "secret\n", ProbeAddr: ":8081"},
			"PreStopToken has white space around it or control characters, which no header can carry"},
		{"a token of two lines", [2]string{}, lifecycle.App{PreStopToken: "sec\nret", ProbeAddr: ":8081"},
			"PreStopToken has white space around it or control characters, which no header can carry"},
		{"pre-stop endpoint beside a hook", [2]string{}, lifecycle.App{PreStopToken: "secret", ProbeAddr: ":8081", PreStop: 5 * time.Second},
			"PreStop is 5s, but the time of the pre-stop endpoint is part of the shutdown"},
		{"floor longer than the grace period", [2]string{}, lifecycle.App{
			GracePeriod: 10 * time.Second, Components: []lifecycle.Component{{Name: "web", Server: server(8 * time.Second)}}},
			`component "web": the grace period of 10s is too short: pre-stop hook 0s + floor 8s + finishing requests 1.5s + stopping components 2s + reserve 2s = 13.5s`},
		{"pre-stop hook eats the grace period", [2]string{}, lifecycle.App{PreStop: 29 * time.Second, Components: []lifecycle.Component{{Name: "a", Start: start}}},
			"the grace period of 30s is too short: pre-stop hook 29s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 31.01s"},
		{"negative grace period", [2]string{}, lifecycle.App{GracePeriod: -1}, "grace period is negative: -1ns"},
		{"negative reserve", [2]string{}, lifecycle.App{Reserve: -time.Second}, "reserve is negative: -1s"},
		{"negative pre-stop", [2]string{}, lifecycle.App{PreStop: -time.Second}, "pre-stop hook is negative: -1s"},
		{"bad GRACE_PERIOD", [2]string{"GRACE_PERIOD", "thirty"}, lifecycle.App{}, `GRACE_PERIOD: "thirty" is not a duration such as 30s`},
		{"bad SHUTDOWN_DELAY", [2]string{"SHUTDOWN_DELAY", "5"}, lifecycle.App{}, `SHUTDOWN_DELAY: "5" is not a duration such as 30s`},
		{"negative SHUTDOWN_DELAY", [2]string{"SHUTDOWN_DELAY", "-5s"}, lifecycle.App{}, `SHUTDOWN_DELAY: "-5s" is negative`},
		{"SHUTDOWN_DELAY does not fit", [2]string{"SHUTDOWN_DELAY", "30s"}, lifecycle.App{
			Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			`component "web": the grace period of 30s is too short: pre-stop hook 0s + floor 30s (SHUTDOWN_DELAY) + finishing requests 3s + stopping components 5s + reserve 2s = 40s`},
		{"no time at all", [2]string{"GRACE_PERIOD", "0s"}, lifecycle.App{},
			"the grace period of 0s (GRACE_PERIOD) is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a grace period of a millisecond", [2]string{}, lifecycle.App{GracePeriod: time.Millisecond},
			"the grace period of 1ms is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a short grace period is complained of once", [2]string{}, lifecycle.App{GracePeriod: time.Millisecond, Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			"the grace period of 1ms is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 10ms = 20ms"},
		{"a reserve longer than the grace period", [2]string{}, lifecycle.App{GracePeriod: time.Second, Reserve: 2 * time.Second},
			"the grace period of 1s is too short: pre-stop hook 0s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 2.01s"},
		{"a hook as long as the grace period", [2]string{}, lifecycle.App{GracePeriod: 10 * time.Second, PreStop: 10 * time.Second},
			"the grace period of 10s is too short: pre-stop hook 10s + floor 0s + finishing requests 0s + stopping components 10ms + reserve 2s = 12.01s"},
		{"a floor for ever", [2]string{}, lifecycle.App{Floor: math.MaxInt64, Components: []lifecycle.Component{lifecycle.HTTP("web", new(http.Server))}},
			`component "web": the grace period of 30s is too short: pre-stop hook 0s + floor 2562047h47m16.854775807s + finishing requests 3s + stopping components 5s + reserve 2s = 2562047h47m16.854775807s`},
		{"probes on a server's address", [2]string{}, lifecycle.App{ProbeAddr: ":8080", Components: []lifecycle.Component{lifecycle.HTTP("web", &http.Server{Addr: ":8080"})}},
			`component "web": its address :8080 is also that of the probe listener; mount the probes on its router instead`},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			if tt.env[0] != "" {
				t.Setenv(tt.env[0], tt.env[1])
			}
			err := tt.app.Run(t.Context())
			require.EqualError(t, err, "invalid configuration: "+tt.want)
			assert.ErrorIs(t, err, lifecycle.ErrConfig)
			assert.Equal(t, 2, lifecycle.ExitCode(err))
			assert.False(t, started, "nothing is started")
		})
	}
}

func TestAppRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		require.NoError(t, runFor(t, a, time.Second))
		assert.EqualError(t, a.Run(t.Context()), "invalid configuration: the App has been run before")
	})
}

func TestConfiguredTimesWinOverTheEnvironment(t *testing.T) {
	t.Setenv("GRACE_PERIOD", "nonsense")
	t.Setenv("SHUTDOWN_DELAY", "nonsense")
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "a"})
		a.GracePeriod, a.Floor = time.Minute, -1
		assert.NoError(t, runFor(t, a, time.Second))
	})
}
