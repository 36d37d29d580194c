// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// faulty is the main of a program with a fault.
func faulty(fault string) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	forever := func(context.Context) error { select {} }
	guilty := lifecycle.Component{Name: "guilty", DependsOn: []string{"db"}}
	mux := http.NewServeMux()
	a := &lifecycle.App{}
	switch fault {
	case "none":
	case "reloads":
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		guilty.Run = func(ctx context.Context) error {
			for {
				select {
				case <-hangups:
					fmt.Println("reloaded")
				case <-ctx.Done():
					return nil
				}
			}
		}
	case "stop hangs":
		guilty.Stop = func(context.Context) error { fmt.Println("hanging"); select {} }
	case "start hangs":
		guilty.Start = func(context.Context) error { fmt.Println("hanging"); select {} }
	case "run ignores its context":
		guilty.Run = forever
	case "stop panics":
		guilty.Stop = func(context.Context) error { panic("odd") }
	case "flush hangs":
		a.Flush = func(context.Context) error { fmt.Println("hanging"); select {} }
	case "check panics":
		guilty.Ready = func(context.Context) error { panic("odd") }
	case "check hangs":
		guilty.Ready = forever
	case "handler ignores its context":
		mux.HandleFunc("/guilty", func(http.ResponseWriter, *http.Request) { fmt.Println("hanging"); select {} })
	case "start obeys":
		guilty.Start = func(ctx context.Context) error { fmt.Println("hanging"); <-ctx.Done(); return ctx.Err() }
	case "start fails":
		guilty.Start = func(context.Context) error { return errors.New("broken") }
	case "run fails":
		guilty.Run = func(context.Context) error { return errors.New("broken") }
	case "run panics as it stops":
		guilty.Run = func(ctx context.Context) error { <-ctx.Done(); panic("odd") }
	case "stop leaves by Goexit":
		guilty.Stop = func(context.Context) error { runtime.Goexit(); return nil }
	case "stop obeys":
		guilty.Stop = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	case "error hangs":
		guilty.Stop = func(context.Context) error { return hostile{func() { select {} }} }
	case "a hundred hang":
		for i := range 100 {
			a.Components = append(a.Components, lifecycle.Component{Name: fmt.Sprint("guilty", i), Stop: forever})
		}
	case "observer hangs":
		a.Observers = []func(lifecycle.Event){func(lifecycle.Event) { select {} }}
	case "observer panics":
		a.Observers = []func(lifecycle.Event){func(lifecycle.Event) { panic("odd") }}
	case "shuts itself down":
		guilty.Run = func(ctx context.Context) error { a.Shutdown("enough"); <-ctx.Done(); return nil }
		guilty.Stop = func(context.Context) error { fmt.Println("stopping"); time.Sleep(time.Second); return nil }
	case "embedded":
		guilty.Run = func(ctx context.Context) error { <-ctx.Done(); return nil }
		guilty.DependsOn = nil
		a.Components = []lifecycle.Component{guilty}
		a.Run(context.Background())
	case "liveness turns red":
		a.Probes = new(probes.Registry)
		a.Probes.AddLiveness("own", func() error { select {} }) // by its timeout
	case "activated":
		guilty = lifecycle.HTTP("guilty", &http.Server{Handler: http.NotFoundHandler()}, "db")
		guilty.Listen = lifecycle.Activated(os.Getenv("SOCKET"))
		again := guilty
		again.Name, again.Server = "again", &drain.Server{HTTP: new(http.Server)}
		if os.Getenv("AGAIN") != "" {
			again.DependsOn = []string{"guilty"}
			a.Components = []lifecycle.Component{again}
		}
	case "logger hangs":
		slog.SetDefault(slog.New(hangingHandler{slog.Default().Handler()}))
	case "logger and stop hang":
		slog.SetDefault(slog.New(hangingHandler{slog.Default().Handler()}))
		guilty.Stop = func(context.Context) error { fmt.Println("stopping"); select {} }
	default:
		panic("unknown fault " + fault)
	}
	a.ProbeAddr, a.PreStopToken = os.Getenv("PROBE_ADDR"), os.Getenv("PRE_STOP_TOKEN")
	a.Components = append(a.Components,
		lifecycle.Component{Name: "db", Stop: func(context.Context) error { fmt.Println("db stopped"); return nil }},
		guilty,
		lifecycle.HTTP("web", &http.Server{Addr: os.Getenv("ADDR"), Handler: mux}, "db"),
	)
	lifecycle.Main(a)
}

// A hangingHandler is a log that stops taking lines when the shutdown begins.
type hangingHandler struct{ slog.Handler }

func (h hangingHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "shutdown initiated") {
		select {}
	}
	return h.Handler.Handle(ctx, r)
}

// A program is a run of faulty in a process of its own.
type program struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
	out   strings.Builder
}

func run(t testing.TB, fault string, env ...string) *program {
	t.Helper()
	return start(t, exec.CommandContext(t.Context(), os.Args[0]), fault, env...)
}

// start is run by a command of its own.
func start(t testing.TB, cmd *exec.Cmd, fault string, env ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: cmd}
	p.cmd.Env = append(os.Environ(), append([]string{faultEnv + "=" + fault, "ADDR=127.0.0.1:0"}, env...)...)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = p.cmd.Stdout
	p.lines = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	return p
}

// waitFor reads the program's output until a line contains text.
func (p *program) waitFor(text string) {
	p.t.Helper()
	for p.lines.Scan() {
		p.out.WriteString(p.lines.Text() + "\n")
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	require.Fail(p.t, "the program ended without saying "+text, p.out.String())
}

// exit returns the program's status and how long it has taken since t0.
func (p *program) exit(t0 time.Time) (code int, took time.Duration) {
	p.t.Helper()
	for p.lines.Scan() {
		p.out.WriteString(p.lines.Text() + "\n")
	}
	err := p.cmd.Wait()
	took = time.Since(t0)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		require.True(p.t, exit.Exited(), "the program was killed: %v\n%s", exit, p.out.String())
		return exit.ExitCode(), took
	}
	require.NoError(p.t, err)
	return 0, took
}

func (p *program) signal(s os.Signal) time.Time {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
	return time.Now()
}

// stackOfFault is in the stack of what hangs.
const stackOfFault = "lifecycle_test.faulty"

// assertSays asserts that the program has said something, or of a stack that it could
// not be had in time: the machine may be busy, and TestWhatHangsIsLeftBehindAndNamed has
// fake time.
func (p *program) assertSays(t testing.TB, want string) {
	t.Helper()
	out := p.out.String()
	if want != stackOfFault || !strings.Contains(out, "the goroutine profile was not done in time") {
		assert.Contains(t, out, want)
	}
}
