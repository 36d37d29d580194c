// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		h, err := r.AddHeartbeat("worker", 30*time.Second)
		require.NoError(t, err)
		time.Sleep(30*time.Second - 1)
		assert.Equal(t, okBody, r.live(), "the first beat counts as given")
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not live: worker\n", r.live(), "Run need not run")
		h.Beat()
		assert.Equal(t, okBody, r.live())

		r.run()
		for range 100 {
			time.Sleep(29 * time.Second)
			assert.Equal(t, okBody, r.live())
			h.Beat()
		}
		assert.Empty(t, r.log())
		time.Sleep(30 * time.Second)
		assert.Equal(t, "503 not live: worker\n", get(r.LiveHandler()))
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=worker probe=liveness took=30s error=\"no beat for 30s\"\n", r.log())
		assert.Equal(t, okBody, r.readyz(), "it is not about readiness")
		time.Sleep(forLong)
		assert.Equal(t, "503 not live: worker\n", r.live())
		h.Beat()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, "level=INFO msg=\"probes: check has recovered\" check=worker probe=liveness took=0s\n", r.log())

		h.Stop()
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live(), "it has come to its end")
		r.end()
	})

	t.Run("from Shutdown on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			_, err := r.AddHeartbeat("worker", time.Second)
			require.NoError(t, err)
			r.run()
			r.Shutdown()
			_, err = r.AddHeartbeat("late", time.Second)
			require.NoError(t, err)
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.live(), "loops end")
			r.end()
		})
	})

	t.Run("when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			_, err := r.AddHeartbeat("worker", time.Second)
			require.NoError(t, err)
			late, err := r.AddHeartbeat("late", time.Second/2)
			require.NoError(t, err)
			r.run()
			time.Sleep(time.Second / 2)
			r.end()
			time.Sleep(forLong)
			assert.Equal(t, "503 not live: late\n", r.live(), "what it was")
			late.Beat()
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.run()
			var wg sync.WaitGroup
			for i := range 100 {
				h, err := r.AddHeartbeat(fmt.Sprintf("worker-%02d", i), time.Second)
				require.NoError(t, err)
				wg.Go(func() {
					for range 100 {
						time.Sleep(time.Second * 3 / 4)
						h.Beat()
						assert.Equal(t, okBody, get(r.LiveHandler()))
					}
					if i != 42 {
						h.Stop()
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
			assert.Equal(t, "503 not live: worker-42\n", r.live())
			r.end()
		})
	})

	t.Run("errors", func(t *testing.T) {
		var r probes.Registry
		_, err := r.AddHeartbeat("worker", time.Second)
		require.NoError(t, err)
		for want, add := range map[string]struct {
			name string
			age  time.Duration
		}{
			"a heartbeat has no name":                                            {"", time.Second},
			`heartbeat "x" has the maximum age 0s`:                               {"x", 0},
			`there is a liveness check "worker" already`:                         {"worker", time.Second},
			`heartbeat "a\tb" has characters in its name that cannot be printed`: {"a\tb", time.Second},
		} {
			h, err := r.AddHeartbeat(add.name, add.age)
			assert.Nil(t, h)
			assert.ErrorIs(t, err, probes.ErrInvalid)
			assert.EqualError(t, err, "probes: invalid check: "+want)
		}
	})
}

func TestBeatDoesNotAllocate(t *testing.T) {
	var r probes.Registry
	h, err := r.AddHeartbeat("worker", time.Hour)
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(1000, h.Beat))
}

// A chanLocker blocks durably, as a sync.Mutex in a bubble does not.
type chanLocker chan struct{}

func (l chanLocker) Lock()   { l <- struct{}{} }
func (l chanLocker) Unlock() { <-l }

func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		mu := make(chanLocker, 1)
		require.NoError(t, r.AddLock("orders", mu, 10*time.Second))
		r.run()
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live())
		mu.Lock() // and no more
		time.Sleep(probes.DefaultInterval + 10*time.Second)
		assert.Equal(t, "503 not live: orders\n", r.live())
		time.Sleep(forLong)
		assert.Equal(t, 1, goroutines())
		mu.Unlock()
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.live())
		r.end()
	})
	var r probes.Registry
	assert.EqualError(t, r.AddLock("x", nil, 0), `probes: invalid check: liveness check "x" has no function`)
	assert.NoError(t, r.AddLock("mutex", new(sync.Mutex), 0))
}

// What asks a dependency takes a context, and does not fit any of the ways into
// liveness: the compiler refuses it.
func TestLivenessRefusesDependencies(t *testing.T) {
	registry := reflect.TypeFor[*probes.Registry]()
	ask := reflect.TypeFor[func(context.Context) error]()
	for m := range registry.Methods() {
		for p := range m.Type.Ins() {
			if p == reflect.TypeFor[probes.Check]() || p == reflect.TypeFor[[]probes.Check]() {
				assert.Equal(t, "AddReadiness", m.Name)
			}
			assert.False(t, ask.AssignableTo(p), m.Name)
		}
	}
}

func TestExpect(t *testing.T) {
	var r probes.Registry
	migrated, err := r.Expect("migrations")
	require.NoError(t, err)
	warm, err := r.Expect("cache")
	require.NoError(t, err)
	const both = "503 not ready: starting, missing: migrations, cache\n"
	assert.Equal(t, both, get(r.StartupHandler()))
	assert.Equal(t, both, get(r.ReadyHandler()))
	assert.Equal(t, okBody, get(r.LiveHandler()))
	migrated()
	migrated()
	r.Started()
	assert.Equal(t, "503 not ready: starting, missing: cache\n", get(r.StartupHandler()))
	assert.Equal(t, "503 not ready: starting, missing: cache\n", get(r.ReadyHandler()))
	for name, want := range map[string]string{
		"":      "a startup step has no name",
		"cache": `there is a startup step "cache" already`,
		"a\nb":  `startup step "a\nb" has characters in its name that cannot be printed`,
	} {
		_, err := r.Expect(name)
		assert.ErrorIs(t, err, probes.ErrInvalid)
		assert.EqualError(t, err, "probes: invalid check: "+want)
	}
	warm()
	assert.Equal(t, okBody, get(r.StartupHandler()))
	assert.Equal(t, okBody, get(r.ReadyHandler()))
	_, err = r.Expect("late")
	assert.EqualError(t, err, `probes: invalid check: startup step "late" is announced after the start`)
	assert.Equal(t, okBody, get(r.StartupHandler()))
}

func TestStepsWithoutStartedAreNotEnough(t *testing.T) {
	var r probes.Registry
	done, err := r.Expect("cache")
	require.NoError(t, err)
	done()
	assert.Equal(t, starting, get(r.StartupHandler()))
	assert.Equal(t, starting, get(r.ReadyHandler()))
}

func TestMaintenance(t *testing.T) {
	const off = "503 not ready: maintenance\n"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("db", pass)
		r.run()
		r.Maintain("new disks", 0)
		assert.Equal(t, off, r.readyz())
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, okBody, r.startup())
		time.Sleep(10 * forLong)
		assert.Equal(t, off, r.readyz())
		r.EndMaintenance()
		assert.Equal(t, okBody, r.readyz())
		r.all()

		r.Maintain("new disks", time.Minute)
		time.Sleep(time.Minute - 1)
		assert.Equal(t, off, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, okBody, get(r.ReadyHandler()), "by itself")
		assert.Equal(t, "level=INFO msg=\"probes: probe fails\" probe=readiness reason=\"not ready: maintenance: new disks\"\n"+
			"level=INFO msg=\"probes: probe passes\" probe=readiness\n", r.all())

		r.Maintain("secret", time.Minute)
		for _, query := range []string{"?verbose", "?verbose&format=json", "?format=html"} {
			assert.Contains(t, strings.ToLower(request(r.ReadyHandler(), http.MethodGet, "/readyz"+query).Body.String()), "maintenance: secret")
			w := httptest.NewRecorder()
			r.ReadyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz"+query, nil))
			assert.NotContains(t, w.Body.String(), "secret", "to a stranger")
		}

		r.Maintain("a", time.Minute)
		r.Maintain("b", time.Hour)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, off, r.readyz(), "the later one counts")
		r.Shutdown()
		r.EndMaintenance()
		assert.Equal(t, shutdown, r.readyz())
		r.Maintain("c", time.Minute)
		assert.Equal(t, shutdown, r.readyz())
		r.end()
		assert.Equal(t, shutdown, r.readyz())
	})

	t.Run("ends by itself without Run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			end := watch(r.Registry)
			r.Maintain("", time.Minute)
			assert.Equal(t, off, r.readyz())
			time.Sleep(time.Minute)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Minute)
			got := end()
			require.Len(t, got, 3)
			assert.Equal(t, seen{time.Minute, probes.Status{Live: true, Ready: true, Started: true, Serving: true}}, got[2])
		})
	})
}

func TestMomentOfShutdown(t *testing.T) {
	for moment, want := range map[probes.Moment][2]string{
		probes.AtShutdown:           {shutdown, shutdown},
		probes.AtAcceptWindowClosed: {okBody, shutdown},
		probes.Never:                {okBody, okBody},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.RedAt = moment
			var calls atomic.Int32
			r.ready("db", func(context.Context) error { calls.Add(1); return nil })
			r.run()
			asked := calls.Load()
			r.Shutdown()
			time.Sleep(forLong)
			assert.Equal(t, want[0], r.readyz())
			assert.Equal(t, okBody, get(r.ServingHandler()), "the listener accepts")
			assert.True(t, r.Status().ShuttingDown)
			assert.Equal(t, asked, calls.Load())
			r.AcceptWindowClosed()
			r.AcceptWindowClosed()
			assert.Equal(t, want[1], r.readyz())
			assert.Equal(t, shutdown, get(r.ServingHandler()))
			assert.Equal(t, okBody, r.live())
			r.end()
		})
	}

	t.Run("keeps what was red before it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.RedAt = probes.Never
			var db service
			db.down.Store(true)
			require.NoError(t, r.AddReadiness(db.check("db")))
			r.run()
			r.Shutdown()
			db.down.Store(false)
			time.Sleep(forLong)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, "503 not ready: db\n", get(r.ServingHandler()))
			r.end()
		})
	})

	t.Run("the window may close first", func(t *testing.T) {
		r := new(probes.Registry)
		r.Started()
		assert.Equal(t, okBody, get(r.ServingHandler()))
		r.AcceptWindowClosed()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
		assert.Equal(t, shutdown, get(r.ServingHandler()))
	})
}

func TestHistoryAndListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var heard []probes.Change
		r.OnChange = func(c probes.Change) {
			heard = append(heard, c)
			r.History() // any method may be called
			r.Status()
		}
		var db service
		require.NoError(t, r.AddReadiness(db.check("db"), probes.Check{Name: "web", DependsOn: []string{"db"}, Func: pass}))
		t0 := time.Now()
		r.run()
		db.down.Store(true)
		time.Sleep(30 * time.Second)
		r.Shutdown()
		synctest.Wait()
		type change struct {
			after                          time.Duration
			probe, check, from, to, reason string
		}
		var got []change
		for _, c := range r.History() {
			got = append(got, change{c.Time.Sub(t0), c.Probe, c.Check, c.From, c.To, c.Reason})
		}
		assert.Equal(t, []change{
			{0, "readiness", "", "failing", "passing", "ok"},
			{0, "startup", "", "failing", "passing", "ok"},
			{0, "readiness", "", "passing", "failing", "not ready: db, web"},
			{0, "readiness", "db", "unknown", "passing", ""},
			{0, "readiness", "web", "unknown", "passing", ""},
			{0, "readiness", "", "failing", "passing", "ok"},
			{5 * time.Second, "readiness", "db", "passing", "failing", errDown.Error()},
			{5 * time.Second, "readiness", "web", "passing", "skipped", "skipped because of db"},
			{5 * time.Second, "readiness", "", "passing", "failing", "not ready: db; skipped: web"},
			{30 * time.Second, "readiness", "", "failing", "failing", "not ready: shutting down"},
		}, got)
		assert.Equal(t, r.History(), heard, "in the same order, nothing left out")
		r.end()
	})

	t.Run("no more than 100", func(t *testing.T) {
		var r probes.Registry
		r.Started()
		for i := range 200 {
			r.Maintain(fmt.Sprint(i), 0)
			r.EndMaintenance()
		}
		h := r.History()
		require.Len(t, h, 100)
		assert.Equal(t, "not ready: maintenance: 199", h[98].Reason)
	})
}

func TestListenerThatMisbehaves(t *testing.T) {
	for name, do := range map[string]func(){
		"panic":  func() { panic(new(badError)) },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				calls := 0
				r.OnChange = func(probes.Change) { calls++; do() }
				r.ready("db", pass)
				r.run()
				r.Maintain("", 0)
				r.EndMaintenance()
				synctest.Wait()
				assert.Len(t, r.History(), calls)
				assert.Equal(t, okBody, r.readyz())
				assert.Equal(t, name == "panic", strings.Contains(r.all(), `msg="probes: listener panicked" error="panic: %!v(PANIC=Error method: no text)"`))
				r.end()
			})
		})
	}

	t.Run("blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			stuck, calls := make(chan struct{}), 0
			r.OnChange = func(probes.Change) { calls++; <-stuck }
			r.ready("db", pass)
			r.run()
			for range 1000 {
				r.Maintain("", 0)
				r.EndMaintenance()
			}
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.readyz())
			assert.Equal(t, 1, calls)
			close(stuck)
			synctest.Wait()
			assert.Equal(t, 1001, calls, "the latest thousand")
			assert.Contains(t, r.all(), `level=WARN msg="probes: changes were not delivered" changes=1004`)
			r.end()
		})
	})
}

// A panickingHandler is a Logger's that panics.
type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("odd") }

func TestLoggerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Logger = slog.New(panickingHandler{slog.DiscardHandler})
		heard := 0
		r.OnChange = func(probes.Change) { heard++ }
		r.ready("db", fail)
		r.run()
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		assert.Len(t, r.History(), heard)
		r.end()
	})
}

// Ten thousand probes while the answer changes all the time: each is given one of
// the two that there are.
func TestManyProbesWhileTheAnswerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		calls := 0
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(context.Context) error {
			time.Sleep(time.Millisecond)
			if calls++; calls%2 == 0 {
				return errDown
			}
			return nil
		}}))
		r.run()
		time.Sleep(time.Millisecond + 1)
		var wg sync.WaitGroup
		var red atomic.Int32
		for range 100 {
			wg.Go(func() {
				for range 100 {
					switch got := get(r.ReadyHandler()); got {
					case okBody:
					case "503 not ready: db\n":
						red.Add(1)
					default:
						t.Error(got)
					}
					time.Sleep(time.Millisecond / 3)
				}
			})
		}
		wg.Wait()
		assert.InDelta(t, 5000, red.Load(), 1000)
		r.end()
	})
}

// What waits is given what holds; nobody keeps Shutdown from being called.
func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.OnChange = func(probes.Change) {}
		r.run()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				name := fmt.Sprintf("check-%02d", i)
				assert.NoError(t, r.AddReadiness(
					probes.Check{Name: name, Func: fail, TTL: time.Duration(i % 2)},
					probes.Check{Name: name + "/b", Func: pass, DependsOn: []string{name}, Optional: i%3 == 0},
				))
				h, err := r.AddHeartbeat(name, time.Second)
				assert.NoError(t, err)
				for range 10 {
					h.Beat()
					r.Maintain(name, time.Millisecond)
					request(r.ReadyHandler(), http.MethodGet, "/readyz?verbose&exclude="+name)
					request(r.LiveHandler(), http.MethodGet, "/livez?format=json&verbose")
					r.EndMaintenance()
					r.Started()
					time.Sleep(time.Millisecond)
				}
				h.Stop()
				if i == 25 {
					r.Shutdown()
				}
			})
		}
		wg.Wait()
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.live())
		r.end()
	})
}

func TestMaintenanceThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Maintain("until then", time.Until(time.Now().Add(-time.Second)))
		assert.Equal(t, okBody, r.readyz())
		r.Maintain("for good", 0)
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: maintenance\n", r.readyz())
		r.Maintain("", -1)
		assert.Equal(t, "503 not ready: maintenance\n", r.readyz(), "nor does that end another")
	})
}

// Who asks for one check during the accept window is told what who asks for all
// is: nobody runs the checks any more, and so their results do not grow old.
func TestChecksAtShutdownStayWhatTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.RedAt = probes.AtAcceptWindowClosed
		hang := make(chan struct{})
		defer close(hang)
		var slow, demanded service
		c := demanded.onDemand("demanded", time.Second)
		require.NoError(t, r.AddReadiness(c,
			probes.Check{Name: "db", Func: pass},
			probes.Check{Name: "shared", Tolerate: time.Hour, Func: func(context.Context) error {
				if slow.calls.Add(1) > 1 {
					return errDown
				}
				return nil
			}},
			probes.Check{Name: "orders", DependsOn: []string{"shared"}, Func: pass},
		))
		r.run()
		require.Equal(t, "200 ok\n", get(r.ReadyHandler()))
		time.Sleep(probes.DefaultInterval)
		ask := func(target string) string {
			w := request(r.Handler(), http.MethodGet, target)
			return fmt.Sprint(w.Code, " ", w.Body)
		}
		_ = ask("/readyz/demanded")
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "hangs", InitiallyPassing: true, Func: func(context.Context) error { <-hang; return nil }}))
		synctest.Wait()
		verbose := ask("/servingz?verbose")
		require.Equal(t, `200 ok, degraded: orders, shared
[+]db ok
[+]demanded ok
[+]hangs ok
[~]orders degraded: skipped because of shared
[~]shared degraded: connection refused (password=hunter2)
`, verbose)
		r.Shutdown()
		require.NoError(t, r.AddReadiness(probes.Check{Name: "zz", Func: fail}))
		for range 10 {
			for _, probe := range []string{"/readyz", "/servingz"} {
				assert.Equal(t, verbose+"[~]zz degraded: not run yet\n", ask(probe+"?verbose"))
				assert.Equal(t, "200 ok\n", ask(probe+"/db"))
				assert.Equal(t, "200 ok\n", ask(probe+"/demanded"))
				assert.Equal(t, "200 ok\n", ask(probe+"/hangs"))
				assert.Equal(t, "200 ok, degraded: shared\n", ask(probe+"/shared"))
				assert.Equal(t, "200 ok, degraded: orders\n", ask(probe+"/orders"))
				assert.Equal(t, "200 ok, degraded: zz\n", ask(probe+"/zz"))
				assert.NotContains(t, ask(probe+"?format=html"), "no result in time")
				assert.NotContains(t, ask(probe+"?format=json&verbose"), "no result in time")
			}
			time.Sleep(forLong)
		}
		calls := demanded.calls.Load()
		r.AcceptWindowClosed()
		for _, probe := range []string{"/readyz", "/servingz"} {
			assert.Equal(t, shutdown, ask(probe+"/db"))
			assert.Equal(t, shutdown, ask(probe+"/zz"))
		}
		assert.Equal(t, calls, demanded.calls.Load())
		r.end()
	})
}

// An exitingHandler is a Logger's that leaves the goroutine.
type exitingHandler struct {
	slog.Handler
	lines *atomic.Int32
}

func (exitingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h exitingHandler) Handle(context.Context, slog.Record) error {
	h.lines.Add(1)
	runtime.Goexit()
	return nil
}

// A Logger that leaves takes nothing from the listener, nor a listener from the
// Logger.
func TestLoggerAndListenerThatExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var lines, heard atomic.Int32
		r.Logger = slog.New(exitingHandler{slog.DiscardHandler, &lines})
		r.OnChange = func(probes.Change) {
			heard.Add(1)
			runtime.Goexit()
		}
		for range 600 { // of which some are too many
			r.Maintain("", 0)
			r.EndMaintenance()
		}
		r.run()
		assert.EqualValues(t, 1000, heard.Load())
		assert.EqualValues(t, 1001, lines.Load(), "and one that some were not delivered")
		r.Shutdown()
		synctest.Wait()
		assert.EqualValues(t, 1001, heard.Load())
		assert.EqualValues(t, 1002, lines.Load())
		assert.Zero(t, goroutines())
		r.end()
	})
}

func TestMaintenanceWithoutAReason(t *testing.T) {
	r := newRig(t)
	r.Started()
	r.Maintain("", 0)
	for _, query := range []string{"?verbose", "?verbose&format=json", "?format=html"} {
		body := strings.ToLower(request(r.Handler(), http.MethodGet, "/readyz"+query).Body.String())
		assert.Contains(t, body, "not ready: maintenance")
		assert.NotContains(t, body, "maintenance: ")
	}
}
