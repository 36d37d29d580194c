// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// faultEnv names the environment variable that makes the test binary a program
// with a fault, to be ended by real signals.
const faultEnv = "LAMEDUCK_TEST_FAULT"

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultEnv); fault != "" {
		faulty(fault)
	}
	if name := os.Getenv(programEnv); name != "" {
		programs[name]()
	}
	goleak.VerifyTestMain(m)
}

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
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	out   strings.Builder
}

func run(t *testing.T, fault string, env ...string) *program {
	t.Helper()
	return start(t, exec.CommandContext(t.Context(), os.Args[0]), fault, env...)
}

// start is run by a command of its own.
func start(t *testing.T, cmd *exec.Cmd, fault string, env ...string) *program {
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

// grace is the grace period of the programs. What is hung takes all of it but a
// part of the reserve, so it is short.
const grace = 4 * time.Second

func TestFaultyProgramIsGoneBeforeTheGracePeriod(t *testing.T) {
	for _, tt := range []struct {
		fault string
		ready string // what it says when the signal may come
		code  int
		want  []string // what it says before it is gone
	}{
		{"none", "instant=Started", 0, []string{"db stopped", "instant=Exited"}},
		{"stop hangs", "instant=Started", 4, []string{"component=guilty op=stop", stackOfFault, "db stopped", "instant=Exited"}},
		{"start hangs", "hanging", 4, []string{"component=guilty op=start", stackOfFault, "db stopped", "instant=Exited"}},
		{"run ignores its context", "instant=Started", 4, []string{"component=guilty op=run", stackOfFault, "db stopped"}},
		{"stop panics", "instant=Started", 1, []string{"component=guilty", "panic: odd", "db stopped"}},
		{"flush hangs", "instant=Started", 4, []string{"component=flush", stackOfFault, "db stopped"}},
		{"check panics", "panic: odd", 1, []string{"check=guilty", "check guilty: panic: odd", "db stopped"}},
		{"check hangs", "instant=Started", 0, []string{"db stopped"}},
		{"start obeys", "hanging", 0, []string{"start interrupted", "component=guilty", "db stopped"}},
		{"start fails", "", 3, []string{"start guilty: broken", "db stopped"}},
		{"run fails", "", 1, []string{"run guilty: broken", "db stopped"}},
		{"run panics as it stops", "instant=Started", 1, []string{"run guilty: panic: odd", "db stopped"}},
		{"stop leaves by Goexit", "instant=Started", 1, []string{"stop guilty: runtime.Goexit was called", "db stopped"}},
		{"stop obeys", "instant=Started", 4, []string{"stop guilty: not done by its deadline: context deadline exceeded", "db stopped"}},
		{"error hangs", "instant=Started", 4, []string{"component=guilty op=stop", "hostile", "db stopped"}},
		{"a hundred hang", "instant=Started", 4, []string{"component=guilty0 op=stop", "component=guilty99 op=stop", "db stopped", "instant=Exited"}},
		{"observer hangs", "instant=Started", 0, []string{"observer has not been told everything", "faulty", "db stopped"}},
		{"observer panics", "instant=Started", 0, []string{"observer has not been told everything", "panic: odd", "db stopped"}},
		{"logger hangs", "instant=Started", 0, []string{"db stopped", "the Logger has not written everything: it has not returned"}},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			p := run(t, tt.fault, "GRACE_PERIOD="+grace.String())
			t0 := time.Now()
			if tt.ready != "" { // and otherwise it ends by itself
				p.waitFor(tt.ready)
				t0 = p.signal(syscall.SIGTERM)
			}
			kill := time.AfterFunc(time.Until(t0.Add(grace)), func() { p.cmd.Process.Kill() }) // as the kubelet does
			code, took := p.exit(t0)
			assert.True(t, kill.Stop(), "SIGKILL was sent")
			assert.Equal(t, tt.code, code, p.out.String())
			assert.Less(t, took, grace, p.out.String())
			for _, want := range tt.want {
				p.assertSays(t, want)
			}
		})
	}
}

// stackOfFault is in the stack of what hangs.
const stackOfFault = "lifecycle_test.faulty"

// assertSays asserts that the program has said something, or of a stack that it could
// not be had in time: the machine may be busy, and TestWhatHangsIsLeftBehindAndNamed has
// fake time.
func (p *program) assertSays(t *testing.T, want string) {
	t.Helper()
	out := p.out.String()
	if want != stackOfFault || !strings.Contains(out, "the goroutine profile was not done in time") {
		assert.Contains(t, out, want)
	}
}

func TestHandlerThatIgnoresItsContextIsNamed(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := run(t, "handler ignores its context", "GRACE_PERIOD="+grace.String(), "ADDR="+addr)
	p.waitFor("instant=Started")
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	fmt.Fprint(nc, "GET /guilty HTTP/1.1\r\nHost: test\r\n\r\n")
	p.waitFor("hanging")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 4, code)
	assert.Less(t, took, grace)
	for _, want := range []string{"component=web op=drain", "GET /guilty", stackOfFault, "db stopped"} {
		p.assertSays(t, want)
	}
	_, err = nc.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(tt.signal.String(), func(t *testing.T) {
			t.Parallel()
			p := run(t, "stop hangs", "GRACE_PERIOD=10m")
			p.waitFor("instant=Started")
			p.signal(syscall.SIGTERM)
			p.waitFor("hanging")
			code, took := p.exit(p.signal(tt.signal))
			assert.Equal(t, tt.code, code)
			assert.Less(t, took, time.Second)
			assert.Regexp(t, `pending="[^"]*guilty \(stop\)`, p.out.String())
			assert.Contains(t, p.out.String(), "report=\"signal: terminated: took ")
			p.assertSays(t, stackOfFault)
		})
	}
}

func TestSecondSignalEndsAtOnceDuringStart(t *testing.T) {
	t.Parallel()
	p := run(t, "start hangs", "GRACE_PERIOD=10m")
	p.waitFor("hanging")
	p.signal(syscall.SIGTERM)
	p.waitFor("instant=ShutdownInitiated")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), "guilty (start)")
}

func TestSecondSignalNamesAFlushThatHangs(t *testing.T) {
	t.Parallel()
	p := run(t, "flush hangs", "GRACE_PERIOD=10m", "SHUTDOWN_DELAY=0s")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("hanging")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), `pending="flush (stop)"`)
	p.assertSays(t, stackOfFault)
}

// TestSecondSignalEndsAtOnceWithoutALog: nothing reads the log any more.
func TestSecondSignalEndsAtOnceWithoutALog(t *testing.T) {
	t.Parallel()
	p := run(t, "logger and stop hang", "GRACE_PERIOD=10m")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("stopping")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), "second signal, leaving at once; the Logger has not written this: it has not returned; not stopped: ")
	assert.Contains(t, p.out.String(), "guilty (stop)")
}

// TestSignalAfterShutdownIsTheFirst: it may come from an orchestrator that does not
// know that the process is on its way.
func TestSignalAfterShutdownIsTheFirst(t *testing.T) {
	t.Parallel()
	p := run(t, "shuts itself down")
	p.waitFor("stopping")
	code, _ := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 0, code, p.out.String())
	assert.Contains(t, p.out.String(), "reason=enough")
}

func TestQuitKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	p := run(t, "stop hangs", "GRACE_PERIOD=10m")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("instant=Drained")
	code, _ := p.exit(p.signal(syscall.SIGQUIT))
	assert.Equal(t, 2, code, "the runtime's")
	assert.Contains(t, p.out.String(), "SIGQUIT: quit")
	assert.Contains(t, p.out.String(), "goroutine 1 ")
}

// TestRunInstallsNoSignalHandler: a program that embeds it has the signals for
// itself, and here their default.
func TestRunInstallsNoSignalHandler(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	for p.lines.Scan() {
	}
	exit, ok := errors.AsType[*exec.ExitError](p.cmd.Wait())
	require.True(t, ok)
	assert.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}

// TestPreStopHook: the hook begins the shutdown and is answered when the accept
// window is over; the signal that comes then changes nothing.
func TestPreStopHook(t *testing.T) {
	t.Parallel()
	probes, addr := freeAddr(t), freeAddr(t)
	p := run(t, "none", "PROBE_ADDR="+probes, "ADDR="+addr, "PRE_STOP_TOKEN=secret", "SHUTDOWN_DELAY=1s")
	p.waitFor("instant=Started")
	ask := func(method, authorization string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+probes+"/prestop", nil)
		require.NoError(t, err)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	for _, authorization := range []string{"", "Bearer ", "Bearer wrong", "secret", "bearer secret ", "Basic secret"} {
		code, _ := ask("GET", authorization)
		require.Equal(t, 403, code, authorization)
	}
	for _, method := range []string{"POST", "HEAD", "OPTIONS"} {
		code, _ := ask(method, "Bearer secret")
		require.Equal(t, 405, code, method)
	}

	t0 := time.Now()
	code, body := ask("GET", "Bearer secret")
	assert.Equal(t, 200, code)
	assert.Equal(t, "the accept window is over\n", body)
	assert.GreaterOrEqual(t, time.Since(t0), time.Second, "the floor")
	_, err := net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	p.cmd.Process.Signal(syscall.SIGTERM) // which may find it gone
	code, _ = p.exit(t0)
	assert.Equal(t, 0, code, p.out.String())
	assert.Equal(t, 1, strings.Count(p.out.String(), "instant=ShutdownInitiated"))
	assert.Contains(t, p.out.String(), `reason="pre-stop hook"`)
}

func TestThereIsNoPreStopHookWithoutAToken(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := run(t, "none", "PROBE_ADDR="+addr)
	p.waitFor("instant=Started")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + addr + "/prestop")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 404, resp.StatusCode)
	p.exit(p.signal(syscall.SIGTERM))
}

func TestInvalidEnvironmentIsOneLine(t *testing.T) {
	t.Parallel()
	p := run(t, "none", "GRACE_PERIOD=soon")
	code, _ := p.exit(time.Now())
	assert.Equal(t, 2, code)
	assert.Equal(t, 1, strings.Count(p.out.String(), "\n"), p.out.String())
	assert.Contains(t, p.out.String(), `GRACE_PERIOD: "soon" is not a duration`)
}

func TestPortInUseIsAnErrorAndNothingIsLeftRunning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	for _, tt := range []struct{ name, culprit string }{{"ADDR", "web"}, {"PROBE_ADDR", "probes"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := run(t, "none", tt.name+"="+l.Addr().String())
			code, _ := p.exit(time.Now())
			assert.Equal(t, 3, code)
			assert.Contains(t, p.out.String(), tt.culprit)
			assert.Contains(t, p.out.String(), l.Addr().String()+": bind: address already in use")
		})
	}
}

func TestProbeListenerIsClosedLast(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := run(t, "flush hangs", "GRACE_PERIOD="+grace.String(), "PROBE_ADDR="+addr)
	p.waitFor("instant=Started")
	get := func(path string) int {
		resp, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	assert.Equal(t, []int{200, 200}, []int{get("/livez"), get("/startupz")})
	t0 := p.signal(syscall.SIGTERM)
	p.waitFor("instant=ShutdownInitiated")
	assert.Equal(t, []int{200, 503}, []int{get("/livez"), get("/readyz")})
	p.waitFor("instant=ComponentsStopped")
	assert.Equal(t, []int{200, 503}, []int{get("/livez"), get("/readyz")})
	p.exit(t0)
	_, err := net.Dial("tcp", addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	http.DefaultClient.CloseIdleConnections()
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestInterruptIsAFirstSignalToo(t *testing.T) {
	t.Parallel()
	p := run(t, "none")
	p.waitFor("instant=Started")
	code, took := p.exit(p.signal(os.Interrupt))
	assert.Equal(t, 0, code)
	assert.Less(t, took, 10*time.Second)
	assert.Contains(t, p.out.String(), `reason="signal: interrupt"`)
}
