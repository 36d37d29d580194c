// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/probes"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

const (
	noJitter = 9 * time.Nanosecond // an interval too short to be shortened
	forLong  = time.Hour
	okBody   = "200 ok\n"
	starting = "503 not ready: starting\n"
	shutdown = "503 not ready: shutting down\n"
)

var errDown = errors.New("connection refused (password=hunter2)")

func pass(context.Context) error { return nil }
func fail(context.Context) error { return errDown }

// A rig is a registry that has started, and what it logs.
type rig struct {
	*probes.Registry
	t    *testing.T
	logs logBuffer
	stop context.CancelFunc
	ran  chan error
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, Registry: new(probes.Registry), ran: make(chan error, 1)}
	r.Logger = slog.New(slog.NewTextHandler(&r.logs, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	r.Started()
	return r
}

// run runs the registry until the end of the test, or of stop, and returns when
// the first runs are over or hang.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ran <- r.Run(ctx) }()
	synctest.Wait()
}

// end ends the run, and returns how long Run took to return.
func (r *rig) end() time.Duration {
	r.t.Helper()
	t0 := time.Now()
	r.stop()
	require.NoError(r.t, <-r.ran)
	return time.Since(t0)
}

func (r *rig) ready(name string, f func(context.Context) error) {
	r.t.Helper()
	require.NoError(r.t, r.AddReadiness(probes.Check{Name: name, Func: f}))
}

// log returns the lines logged on checks since the last call.
func (r *rig) log() string {
	var lines []string
	for line := range strings.Lines(r.all()) {
		if !strings.Contains(line, `msg="probes: probe `) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// all returns all lines logged since the last call.
func (r *rig) all() string {
	synctest.Wait()
	return r.logs.take()
}

// A logBuffer is where lines are written while a test reads them.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// get returns an answer's status and body.
func get(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return strconv.Itoa(w.Code) + " " + w.Body.String()
}

func (r *rig) live() string    { synctest.Wait(); return get(r.LiveHandler()) }
func (r *rig) readyz() string  { synctest.Wait(); return get(r.ReadyHandler()) }
func (r *rig) startup() string { synctest.Wait(); return get(r.StartupHandler()) }

func TestLifeOfAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, Registry: new(probes.Registry), ran: make(chan error, 1)}
		assert.Equal(t, okBody, r.live(), "the zero value answers")
		assert.Equal(t, starting, r.readyz())
		assert.Equal(t, starting, r.startup())

		require.NoError(t, r.AddLiveness("progress", func() error { return nil }))
		r.ready("db", pass)
		assert.Equal(t, okBody, r.live(), "not run yet")
		r.run()
		assert.Equal(t, starting, r.readyz(), "a check that passes is not enough")
		assert.Equal(t, starting, r.startup())

		r.Started()
		r.Started()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, okBody, r.startup())

		r.Shutdown()
		r.Shutdown()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.startup())

		assert.Zero(t, r.end())
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live(), "nobody renews it, and nobody is to restart the process for that")
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.startup())
	})
}

func TestStartedWithoutChecksIsReady(t *testing.T) {
	var r probes.Registry
	r.Started()
	assert.Equal(t, okBody, get(r.ReadyHandler()))
}

func TestShutdownIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var down atomic.Bool
		down.Store(true)
		r.ready("db", func(context.Context) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		slow := make(chan struct{})
		r.ready("slow", func(ctx context.Context) error { <-slow; return nil })
		r.run()
		r.log()
		r.Shutdown()
		down.Store(false)
		close(slow)
		assert.Equal(t, shutdown, r.readyz())
		r.Started()
		r.ready("late", pass)
		time.Sleep(forLong)
		assert.Equal(t, shutdown, r.readyz())
		assert.Empty(t, r.log(), "what is checked may be stopped by now")
		r.end()
		assert.Equal(t, shutdown, r.readyz())
	})

	t.Run("against everything else at once", func(t *testing.T) {
		r := new(probes.Registry)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				r.Started()
				assert.NoError(t, r.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass}))
				if i == 50 {
					r.Shutdown()
					assert.Equal(t, shutdown, get(r.ReadyHandler()))
				}
			})
		}
		wg.Wait()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
	})

	t.Run("before Started", func(t *testing.T) {
		r := new(probes.Registry)
		r.Shutdown()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
		assert.Equal(t, starting, get(r.StartupHandler()))
		r.Started()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
	})
}

func TestRegistrationErrors(t *testing.T) {
	r := new(probes.Registry)
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: pass}))
	require.NoError(t, r.AddLiveness("db", func() error { return nil }), "the kinds have names of their own")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{r.AddReadiness(probes.Check{Func: pass}), "probes: invalid check: a readiness check has no name"},
		{r.AddReadiness(probes.Check{Name: "x"}), `probes: invalid check: readiness check "x" has no function`},
		{r.AddReadiness(probes.Check{Name: "db", Func: pass}), `probes: invalid check: there is a readiness check "db" already`},
		{r.AddReadiness(probes.Check{Name: "x", Func: pass, Timeout: -time.Second}), `probes: invalid check: readiness check "x" has the negative timeout -1s`},
		{r.AddReadiness(probes.Check{Name: "x", Func: pass, Interval: -1}), `probes: invalid check: readiness check "x" has the negative interval -1ns`},
		{r.AddLiveness("", func() error { return nil }), "probes: invalid check: a liveness check has no name"},
		{r.AddLiveness("x", nil), `probes: invalid check: liveness check "x" has no function`},
		{r.AddLiveness("db", func() error { return nil }), `probes: invalid check: there is a liveness check "db" already`},
	} {
		assert.ErrorIs(t, tt.err, probes.ErrInvalid)
		assert.EqualError(t, tt.err, tt.want)
	}
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		assert.EqualError(t, r.Run(t.Context()), "probes: Run called twice")
		r.end()
		assert.Error(t, r.Run(t.Context()))
	})
}

func TestInterval(t *testing.T) {
	for _, set := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			const takes = 300 * time.Millisecond
			interval := probes.DefaultInterval
			if set != 0 {
				interval = set
			}
			var gaps []time.Duration
			var last time.Time
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: set, Func: func(context.Context) error {
				if !last.IsZero() {
					gaps = append(gaps, time.Since(last))
				}
				time.Sleep(takes)
				last = time.Now()
				return nil
			}}))
			r.run()
			time.Sleep(200 * interval)
			r.end()
			require.GreaterOrEqual(t, len(gaps), 190)
			distinct := map[time.Duration]bool{}
			for _, gap := range gaps {
				assert.LessOrEqual(t, gap, interval)
				assert.GreaterOrEqual(t, gap, interval-interval/10)
				distinct[gap] = true
			}
			assert.Greater(t, len(distinct), 100, "jitter")
		})
	}
}

func TestTimeout(t *testing.T) {
	for _, set := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			timeout := probes.DefaultTimeout
			if set != 0 {
				timeout = set
			}
			hang := false
			began := make(chan time.Time, 1)
			cancelled := make(chan time.Duration, 1)
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Timeout: set, Func: func(ctx context.Context) error {
				if !hang {
					hang = true
					return nil
				}
				t0 := time.Now()
				began <- t0
				<-ctx.Done()
				cancelled <- time.Since(t0)
				time.Sleep(time.Second) // it ends, and late
				return nil
			}}))
			r.run()
			require.Equal(t, okBody, r.readyz())
			<-began
			time.Sleep(timeout - 1)
			assert.Equal(t, okBody, r.readyz())
			assert.Empty(t, cancelled)
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "exactly then, and without waiting for anybody")
			assert.Equal(t, timeout, <-cancelled)
			assert.Equal(t, fmt.Sprintf("level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=%v error=\"timed out after %[1]v\"\n", timeout), r.log())
			time.Sleep(time.Second)
			assert.Equal(t, "503 not ready: db\n", r.readyz(), "what it returned came too late")
			assert.Empty(t, r.log())
			r.end()
		})
	}
}

// goroutines returns how many goroutines registries have started, in the bubble if it
// is called in one: outside of it there may be those of earlier tests that are about
// to end, which runtime.NumGoroutine counts, too. Those of the bubble that can go on
// have done so by then: a check that is due at this very instant is not counted.
func goroutines() (n int) {
	stacks := make([]byte, 1<<20)
	all := func() string { return string(stacks[:runtime.Stack(stacks, true)]) }
	own, _, _ := strings.Cut(all(), "\n")
	bubbled := strings.Contains(own, "synctest bubble")
	if bubbled {
		synctest.Wait()
	}
	for stack := range strings.SplitSeq(all(), "\n\n") {
		header, calls, _ := strings.Cut(stack, "\n")
		if bubbled == strings.Contains(header, "synctest bubble") && strings.Contains(calls, "\ncreated by github.com/lameduck-go/lameduck/probes.") {
			n++
		}
	}
	return n
}

func TestHangCostsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("cache", pass)
		r.run()
		require.Zero(t, goroutines())
		release := make(chan struct{})
		var calls atomic.Int32
		r.ready("db", func(context.Context) error { calls.Add(1); <-release; return nil })
		time.Sleep(probes.DefaultTimeout)
		assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()))
		time.Sleep(forLong)
		synctest.Wait()
		assert.Equal(t, 1, goroutines())
		assert.EqualValues(t, 1, calls.Load())
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		assert.Equal(t, okBody, r.live())
		r.ready("late", pass)
		assert.Equal(t, "503 not ready: db\n", r.readyz(), "nor does it keep others from being added and run")

		assert.Zero(t, r.end(), "nor Run from returning")
		close(release)
	})
}

func TestHangThenRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.ready("db", func(context.Context) error { <-release; return nil })
		r.run()
		time.Sleep(forLong)
		close(release)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=1s error=\"timed out after 1s\"\n"+
			"level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=0s\n", r.log())
		r.end()
	})
}

func TestRunWaitsForChecksThatReturn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		takes   time.Duration // after its context has ended
		want    time.Duration
	}{
		{"at once", forLong, 0, 0},
		{"soon", forLong, 700 * time.Millisecond, 700 * time.Millisecond},
		{"past its timeout", 400 * time.Millisecond, forLong, 400 * time.Millisecond},
		{"too late", forLong, forLong, probes.DefaultTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Timeout: tt.timeout, Func: func(ctx context.Context) error {
					<-ctx.Done()
					time.Sleep(tt.takes)
					return ctx.Err()
				}}))
				r.run()
				assert.Equal(t, tt.want, r.end())
				assert.Empty(t, r.log(), "being told to stop is not a failure")
				time.Sleep(tt.takes)
			})
		})
	}

	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := new(probes.Registry)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error {
			t.Error("called")
			return nil
		}}))
		assert.NoError(t, r.Run(ctx))
	})
}

type badError struct{}

func (*badError) Error() string { panic("no text") }

// A worseError cannot say, either, why it cannot say what it is.
type worseError struct{}

func (e worseError) Error() string { panic(e) }

func TestFailuresAreContained(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(context.Context) error
		want string
	}{
		{"error", fail, `"connection refused (password=hunter2)"`},
		{"empty error", func(context.Context) error { return errors.New("") }, `""`},
		{"panic", func(context.Context) error { panic("kaboom") }, `"panic: kaboom"`},
		{"panic with an error", func(context.Context) error { panic(errDown) }, `"panic: connection refused (password=hunter2)"`},
		{"Goexit", func(context.Context) error { runtime.Goexit(); return nil }, `"runtime.Goexit called"`},
		{"panic that cannot be told", func(context.Context) error { panic(worseError{}) }, `panic`},
		{"error that panics", func(context.Context) error { return new(badError) }, `"panic: no text"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var broken atomic.Bool
				calls := 0
				r.ready("db", func(ctx context.Context) error {
					calls++
					time.Sleep(20 * time.Millisecond)
					if broken.Load() {
						return tt.f(ctx)
					}
					return nil
				})
				r.run()
				time.Sleep(time.Second)
				require.Equal(t, okBody, r.readyz())
				assert.Empty(t, r.log(), "the first result is not a recovery")

				broken.Store(true)
				time.Sleep(3 * probes.DefaultInterval)
				assert.Equal(t, "503 not ready: db\n", r.readyz())
				line, stack, _ := strings.Cut(strings.TrimSpace(r.log()), " stack=")
				assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=20ms error="+tt.want, line, "one line")
				panics := strings.Contains(tt.want, "panic")
				assert.Equal(t, panics, strings.Contains(stack, "probes_test."), "a panic has its stack in the log")
				if panics || tt.name == "Goexit" {
					assert.Equal(t, map[string]string{"db": strings.Trim(tt.want, `"`)}, r.Panics())
				} else {
					assert.Empty(t, r.Panics())
				}

				broken.Store(false)
				time.Sleep(probes.DefaultInterval + 20*time.Millisecond)
				assert.Equal(t, okBody, r.readyz())
				assert.Equal(t, "level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=20ms\n", r.log())
				r.end()
				assert.GreaterOrEqual(t, calls, 5)
			})
		})
	}
}

func TestLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var stuck atomic.Bool
		require.NoError(t, r.AddLiveness("progress", func() error {
			if stuck.Load() {
				return errDown
			}
			return nil
		}))
		release := make(chan struct{})
		require.NoError(t, r.AddLiveness("lock", func() error { <-release; return nil }))
		r.run()
		time.Sleep(probes.DefaultTimeout - 1)
		assert.Equal(t, okBody, r.live())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not live: lock\n", get(r.LiveHandler()))
		assert.Equal(t, okBody, r.readyz(), "the kinds do not mix")
		stuck.Store(true)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "503 not live: lock, progress\n", r.live())
		stuck.Store(false)
		close(release)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.live())
		r.Shutdown()
		stuck.Store(true)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "503 not live: progress\n", r.live(), "liveness goes on")
		r.end()
		assert.Equal(t, "503 not live: progress\n", r.live())
	})
}

func TestResultsExpire(t *testing.T) {
	t.Run("exactly, when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			calls := 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(ctx context.Context) error {
				if calls++; calls == 1 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}}))
			r.run() // the first run has passed
			time.Sleep(noJitter)
			synctest.Wait() // the second one is under way
			assert.Zero(t, r.end())
			time.Sleep(probes.DefaultTimeout - 1)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("of liveness do not, when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddLiveness("progress", func() error { return nil }))
			r.run()
			r.end()
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("one after the other, if nothing is published", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			for i, name := range []string{"a", "b", "c"} {
				require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: pass, Jitter: -1, Interval: time.Duration(i+1) * time.Second}))
			}
			r.run()
			require.Equal(t, okBody, r.readyz())
			r.end()
			for _, want := range []string{okBody, "503 not ready: a\n", "503 not ready: a, b\n", "503 not ready: a, b, c\n"} {
				time.Sleep(time.Second)
				assert.Equal(t, want, r.readyz(), "a second after its interval")
			}
		})
	})
}

func TestLoggerThatBlocksHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		stuck := make(chan struct{})
		r.Logger = slog.New(stuckHandler{r.Logger.Handler(), stuck})
		var down atomic.Bool
		r.ready("db", func(context.Context) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		r.run()
		down.Store(true)
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		down.Store(false)
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, 1, goroutines(), "which waits for the Logger")
		close(stuck)
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=0s error=\"connection refused (password=hunter2)\"\n"+
			"level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=0s\n", r.log())
		r.end()
	})

	t.Run("nor Run from ending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			stuck := make(chan struct{})
			r.Logger = slog.New(stuckHandler{r.Logger.Handler(), stuck})
			r.run()
			assert.Equal(t, probes.DefaultTimeout, r.end())
			close(stuck)
		})
	})
}

// A stuckHandler blocks until its channel is closed.
type stuckHandler struct {
	slog.Handler
	until <-chan struct{}
}

func (h stuckHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h stuckHandler) Handle(ctx context.Context, rec slog.Record) error {
	<-h.until
	return h.Handler.Handle(ctx, rec)
}

func TestProbesRunNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var calls atomic.Int32
		r.ready("db", func(context.Context) error { calls.Add(1); return nil })
		r.run()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				assert.Equal(t, okBody, get(r.ReadyHandler()))
				assert.Equal(t, okBody, get(r.LiveHandler()))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, calls.Load())
		r.end()
	})
}

func TestCancelledProbeChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("db", func(ctx context.Context) error { return ctx.Err() })
		r.run()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

func TestRegisteringWhileChecksRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				name, f := fmt.Sprintf("check-%03d", i), pass
				if i%2 == 0 {
					f = func(context.Context) error { <-gate; return nil }
				}
				assert.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: f}))
				if i%2 == 0 {
					assert.Contains(t, get(r.ReadyHandler()), name)
				}
			})
		}
		wg.Wait()
		assert.True(t, strings.HasPrefix(r.readyz(), "503 not ready: check-000, check-002, check-004, "))
		close(gate)
		assert.Equal(t, okBody, r.readyz())
		r.ready("late", fail)
		assert.Equal(t, "503 not ready: late\n", r.readyz(), "started at once")
		r.end()
	})
}

func TestBody(t *testing.T) {
	body := func(names ...string) string {
		r := new(probes.Registry)
		r.Started()
		for _, name := range names {
			require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: fail}))
		}
		return get(r.ReadyHandler())
	}
	t.Run("sorted", func(t *testing.T) {
		assert.Equal(t, "503 not ready: cache, db, queue\n", body("queue", "db", "cache"))
	})
	t.Run("bounded", func(t *testing.T) {
		var names []string
		for i := range 2000 {
			names = append(names, fmt.Sprintf("check-%04d", i))
		}
		got := body(names...)
		assert.Less(t, len(got), 10<<10)
		assert.Greater(t, len(got), 7<<10)
		listed := strings.Count(got, "check-")
		assert.True(t, strings.HasSuffix(got, fmt.Sprintf("check-%04d, and %d more\n", listed-1, 2000-listed)), got[len(got)-40:])
	})
	t.Run("a name that does not fit", func(t *testing.T) {
		assert.Equal(t, "503 not ready: "+strings.Repeat("x", 120)+"..., y\n", body(strings.Repeat("x", 10<<10), "y"))
	})
	t.Run("without the error's text", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.ready("db", fail)
			r.run()
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Contains(t, r.log(), "hunter2")
			r.end()
		})
	})
}

func TestMethodsAndHeaders(t *testing.T) {
	r := new(probes.Registry)
	for _, tt := range []struct {
		method, path string
		code         int
		body, length string
	}{
		{"GET", "/livez", 200, "ok\n", "3"},
		{"HEAD", "/livez", 200, "", "3"},
		{"GET", "/readyz", 503, "not ready: starting\n", "20"},
		{"HEAD", "/readyz", 503, "", "20"},
		{"GET", "/startupz", 503, "not ready: starting\n", "20"},
		{"POST", "/livez", 405, "method not allowed\n", "19"},
		{"POST", "/readyz", 405, "method not allowed\n", "19"},
		{"DELETE", "/startupz", 405, "method not allowed\n", "19"},
	} {
		for name, mux := range map[string]interface {
			Handle(pattern string, h http.Handler)
			http.Handler
		}{"ServeMux": http.NewServeMux(), "chi": chi.NewRouter()} {
			t.Run(tt.method+" "+tt.path+" on "+name, func(t *testing.T) {
				r.Mount(mux)
				w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
				mux.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path+"?verbose", nil))
				assert.Equal(t, tt.code, w.Code)
				if tt.code == 405 && name == "ServeMux" {
					assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
					return // its own answer
				}
				assert.Equal(t, tt.body, w.Body.String())
				want := http.Header{
					"Cache-Control":          {"no-store"},
					"Content-Type":           {"text/plain; charset=utf-8"},
					"X-Content-Type-Options": {"nosniff"},
					"Content-Length":         {tt.length},
				}
				if tt.code == 405 {
					want["Allow"] = []string{"GET, HEAD"}
				}
				assert.Equal(t, want, w.Header())
				assert.LessOrEqual(t, w.writes, 1)
			})
		}
	}
}

type countingWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.ResponseRecorder.Write(p)
}

func TestOverTheWire(t *testing.T) {
	r := new(probes.Registry)
	r.Started()
	mux := http.NewServeMux()
	r.Mount(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/readyz", nil)
		require.NoError(t, err)
		resp, err := srv.Client().Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.EqualValues(t, 3, resp.ContentLength)
		assert.Empty(t, resp.TransferEncoding)
	}
}

// A sink is a ResponseWriter that does nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func TestAnswersDoNotAllocate(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		red := new(probes.Registry)
		red.Started()
		for i := range n { // of which none expires meanwhile
			require.NoError(t, red.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass, Interval: time.Hour, Timeout: time.Hour}))
		}
		handlers := []http.Handler{red.LiveHandler(), red.ReadyHandler(), red.StartupHandler(), red.ServingHandler(), red.Handler(), ready(t, n)}
		w, req := &sink{make(http.Header, 8)}, kubelet()
		for _, h := range handlers {
			assert.Zero(t, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, req) }), n)
		}
	}
}

func TestExpiredAnswersDoNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 1000 {
			require.NoError(t, r.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass}))
		}
		r.run()
		r.end()
		time.Sleep(forLong)
		h, w, req := r.ReadyHandler(), &sink{make(http.Header, 8)}, kubelet()
		assert.Zero(t, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, req) }))
	})
}

func TestLongestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(probes.Check{Name: "once", Func: pass, Timeout: math.MaxInt64, Interval: math.MaxInt64}))
		r.run()
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(1000 * forLong)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

// request returns the answer to a request from this host.
func request(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(method, target, nil)
	req.RemoteAddr, req.Host = "127.0.0.1:1234", "localhost"
	h.ServeHTTP(w, req)
	return w
}

type exitingError struct{}

func (exitingError) Error() string { runtime.Goexit(); return "" }

// A check whose panic leaves its goroutine when asked for its text is over all
// the same, and is run again.
func TestPanicWhoseTextExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		calls := 0
		r.ready("db", func(context.Context) error {
			if calls++; calls == 2 {
				panic(exitingError{})
			}
			return nil
		})
		r.run()
		time.Sleep(forLong)
		synctest.Wait()
		assert.Greater(t, calls, 2)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}
