// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycletest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// programEnv makes the test binary a program to be tested.
const programEnv = "LAMEDUCK_TEST_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(programEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "ignores signals":
		select {}
	case "leaves somebody behind":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), programEnv+"=holds the output")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "holds the output":
		io.Copy(io.Discard, os.Stdin) // until the test lets go
		os.Exit(0)
	case "json":
		slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	}
	lifecycle.Main(&lifecycle.App{ProbeAddr: os.Getenv("PROBE_ADDR"), Components: []lifecycle.Component{
		{Name: "db", Stop: func(context.Context) error { fmt.Println("db stopped"); return nil }},
	}})
}

// service is a user's App.
func service() *lifecycle.App {
	second := func(context.Context) error { time.Sleep(time.Second); return nil }
	return &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "web", DependsOn: []string{"db"}, Stop: second},
			{Name: "db", Start: second, Stop: second, Ready: func(context.Context) error { return nil }},
		},
	}
}

// neverReady is a service with a check that takes too long.
func neverReady() *lifecycle.App {
	app := service()
	app.Components[1].Ready = func(context.Context) error { time.Sleep(time.Second); return nil }
	return app
}

func TestServiceInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t0 := time.Now()
		app := service()
		app.Components[1].Ready = func(context.Context) error { time.Sleep(505 * time.Millisecond); return nil }
		s := lifecycletest.Start(t, app)
		assert.Equal(t, time.Second, time.Since(t0))
		s.Ready(time.Minute)
		assert.Equal(t, 1510*time.Millisecond, time.Since(t0), "it looks every 10 ms")
		r := s.Stop("enough")
		assert.Equal(t, 2*time.Second, r.Report.Took)
		assert.Equal(t, 0, r.ExitStatus)
		assert.NoError(t, r.Err)
		assert.Equal(t, []string{"db", "web"}, r.Order("ComponentStarted"))
		assert.Equal(t, []string{"web", "db"}, r.Order("ComponentStopped"))
		assert.Equal(t, "enough", r.Report.Reason)
		assert.Equal(t, "Exited", r.Events[len(r.Events)-1].Instant)
	})
}

// TestStop is in the package documentation.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lifecycletest.Start(t, service())
		s.Ready(time.Minute)
		r := s.Stop("the test is over")
		if order := r.Order("ComponentStopped"); !slices.Equal(order, []string{"web", "db"}) {
			t.Errorf("stopped in the order %v", order)
		}
		if r.ExitStatus != 0 || r.Report.Took > 5*time.Second {
			t.Errorf("status %d: %v", r.ExitStatus, r.Report)
		}
	})
}

func TestDocumentationHasTestStop(t *testing.T) {
	function := func(file, prefix string) string {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		_, rest, found := strings.Cut(string(text), prefix+"func TestStop(")
		require.True(t, found, file)
		rest, _, found = strings.Cut(rest, "\n"+prefix+"}\n")
		require.True(t, found, file)
		return strings.ReplaceAll(rest, "\n"+prefix, "\n")
	}
	shown := function("lifecycletest.go", "//\t")
	assert.Equal(t, function("lifecycletest_test.go", ""), shown)
	assert.LessOrEqual(t, strings.Count(shown, "\n")+2, 15, "lines of a test")
}

func TestServiceThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := service()
		app.Components[0].Start = func(context.Context) error { return errors.New("broken") }
		r := lifecycletest.Start(t, app).Wait(time.Minute)
		assert.Equal(t, 3, r.ExitStatus)
		assert.Equal(t, []string{"web"}, r.Order("ComponentFailed"))
	})
}

func TestServiceThatIsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := service()
		app.Components[0].Name = "db"
		s := lifecycletest.Start(t, app)
		for range 100 {
			r := s.Wait(0)
			assert.Equal(t, 2, r.ExitStatus)
			assert.Nil(t, r.Report)
		}
	})
}

// A fake is a test that may fail without failing this one.
type fake struct {
	testing.TB
	said string
}

func (f *fake) Helper() {}
func (f *fake) Errorf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
}
func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failure returns what a test says that fails.
func failure(t *testing.T, test func(t testing.TB)) string {
	f := &fake{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	return f.said
}

// neverStarts is a service whose database does not come.
func neverStarts() *lifecycle.App {
	app := service()
	app.Components[1].Start = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	app.Components = append(app.Components, lifecycle.Component{Name: "beside"})
	return app
}

func TestServiceThatDoesNotStartInTimeFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t0 := time.Now()
		said := failure(t, func(t testing.TB) { lifecycletest.Start(t, neverStarts()) })
		assert.Equal(t, "lifecycletest: not started within 10m0s: db", said)
		assert.Equal(t, 10*time.Minute, time.Since(t0))
	})
}

// A hurried test has a deadline and a context of its own.
type hurried struct {
	testing.TB
	ctx      context.Context
	deadline time.Time
}

func (h *hurried) Context() context.Context    { return h.ctx }
func (h *hurried) Deadline() (time.Time, bool) { return h.deadline, !h.deadline.IsZero() }

func TestStartKnowsTheDeadlineOfTheTest(t *testing.T) {
	for _, tt := range []struct{ left, want time.Duration }{
		{time.Hour, time.Hour - 31*time.Second},
		{40 * time.Second, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			t0 := time.Now()
			said := failure(t, func(t testing.TB) {
				lifecycletest.Start(&hurried{t, t.Context(), t0.Add(tt.left)}, neverStarts())
			})
			assert.Equal(t, fmt.Sprintf("lifecycletest: not started within %v: db", tt.want), said)
			assert.Equal(t, tt.want, time.Since(t0))
		})
	}
}

func TestStartKnowsTheContextOfTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := neverStarts()
		app.Components[1].Start = func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		said := failure(t, func(t testing.TB) { lifecycletest.Start(&hurried{TB: t, ctx: ctx}, app) })
		assert.Equal(t, "lifecycletest: not started when the test's context ended: db", said)
	})
}

func TestServiceThatIsNeverReadyFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := neverReady()
		said := failure(t, func(t testing.TB) { lifecycletest.Start(t, app).Ready(2 * time.Minute) })
		assert.Equal(t, "lifecycletest: not ready within 2m0s: not ready: db\n", said)
	})
}

func TestServiceThatEndsBeforeItIsReadyFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := neverReady()
		app.Components[0].Run = func(context.Context) error { time.Sleep(time.Minute); return errors.New("broken") }
		said := failure(t, func(t testing.TB) { lifecycletest.Start(t, app).Ready(time.Hour) })
		assert.Equal(t, "lifecycletest: the process has ended before it was ready: run web: broken", said)
	})
}

func TestServiceThatDoesNotEndFailsTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := failure(t, func(t testing.TB) { lifecycletest.Start(t, service()).Wait(time.Minute) })
		assert.Equal(t, "lifecycletest: the process has not ended within 1m0s", said)
	})
}

// program is this test binary as a program.
func program(t testing.TB, kind string, env ...string) *lifecycletest.Process {
	return lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), os.Args[0]), append(env, programEnv+"="+kind)...)
}

func TestProcess(t *testing.T) {
	for _, kind := range []string{"text", "json"} {
		t.Run(kind, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l.Close()
			p := program(t, kind, "PROBE_ADDR="+l.Addr().String())
			p.Ready("http://"+l.Addr().String()+"/readyz", time.Minute)
			p.Signal(syscall.SIGTERM)
			exit := p.Wait(30 * time.Second)
			assert.Equal(t, 0, exit.Status)
			assert.Contains(t, exit.Output, "db stopped")
			assert.Equal(t, []string{"Started", "ShutdownInitiated", "ComponentsStopped", "Exited"}, exit.Instants)
			assert.Less(t, exit.Took, 30*time.Second)
		})
	}
}

func TestProcessThatIsNotReadyFailsTheTest(t *testing.T) {
	said := failure(t, func(t testing.TB) {
		program(t, "text").Ready("http://127.0.0.1:1/readyz", 100*time.Millisecond)
	})
	assert.Contains(t, said, "lifecycletest: not ready within 100ms:\n")
}

func TestProcessThatEndsFailsTheTest(t *testing.T) {
	said := failure(t, func(t testing.TB) {
		program(t, "text", "GRACE_PERIOD=soon").Ready("http://127.0.0.1:1/readyz", time.Minute)
	})
	assert.Contains(t, said, "lifecycletest: the process has ended before it was ready:\n")
	assert.Contains(t, said, `GRACE_PERIOD: "soon" is not a duration`)
}

func TestProcessThatOverrunsItsGracePeriodIsKilled(t *testing.T) {
	said := failure(t, func(t testing.TB) {
		exit := program(t, "ignores signals").Wait(100 * time.Millisecond)
		assert.Equal(t, -1, exit.Status)
	})
	assert.Contains(t, said, "lifecycletest: SIGKILL after 100ms")
}

// TestWhatAProcessLeavesRunningIsNotWaitedFor: it holds the output open, and neither
// the end of the process nor its status.
func TestWhatAProcessLeavesRunningIsNotWaitedFor(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close() // then it ends
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Stdin = r
	exit := lifecycletest.StartProcess(t, cmd, programEnv+"=leaves somebody behind").Wait(time.Minute)
	assert.Equal(t, 0, exit.Status)
	assert.Less(t, exit.Took, time.Minute)
}

func TestProgramThatIsNotThereFailsTheTest(t *testing.T) {
	said := failure(t, func(t testing.TB) { lifecycletest.StartProcess(t, exec.Command("/no/such/program")) })
	assert.Contains(t, said, "/no/such/program")
}
