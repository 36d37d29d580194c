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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// faultEnv names the environment variable that makes the test binary a program
// with a fault, to be ended by real signals.
const faultEnv = "LAMEDUCK_TEST_FAULT"

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultEnv); fault != "" {
		faulty(fault)
	}
	goleak.VerifyTestMain(m)
}

// faulty is the main of a program with a fault.
func faulty(fault string) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	forever := func(context.Context) error { select {} }
	guilty := lifecycle.Component{Name: "guilty"}
	mux := http.NewServeMux()
	a := &lifecycle.App{}
	switch fault {
	case "none":
	case "stop hangs":
		guilty.Stop = forever
	case "start hangs":
		guilty.Start = func(context.Context) error { fmt.Println("hanging"); select {} }
	case "run ignores its context":
		guilty.Run = forever
	case "stop panics":
		guilty.Stop = func(context.Context) error { panic("odd") }
	case "flush hangs":
		a.Flush = forever
	case "check panics":
		guilty.Ready = func(context.Context) error { panic("odd") }
	case "check hangs":
		guilty.Ready = forever
	case "handler ignores its context":
		mux.HandleFunc("/guilty", func(http.ResponseWriter, *http.Request) { fmt.Println("hanging"); select {} })
	case "logger hangs":
		slog.SetDefault(slog.New(hangingHandler{slog.Default().Handler()}))
	default:
		panic("unknown fault " + fault)
	}
	a.ProbeAddr = os.Getenv("PROBE_ADDR")
	a.Components = []lifecycle.Component{
		{Name: "db", Stop: func(context.Context) error { fmt.Println("db stopped"); return nil }},
		guilty,
		lifecycle.HTTP("web", &http.Server{Addr: os.Getenv("ADDR"), Handler: mux}, "db"),
	}
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
	p := &program{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
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
		{"stop hangs", "instant=Started", 4, []string{"component=guilty op=stop", "lifecycle_test.faulty", "db stopped", "instant=Exited"}},
		{"start hangs", "hanging", 4, []string{"component=guilty op=start", "lifecycle_test.faulty", "db stopped", "instant=Exited"}},
		{"run ignores its context", "instant=Started", 4, []string{"component=guilty op=run", "lifecycle_test.faulty", "db stopped"}},
		{"stop panics", "instant=Started", 1, []string{"component=guilty", "panic: odd", "db stopped"}},
		{"flush hangs", "instant=Started", 4, []string{"component=flush", "lifecycle_test.faulty", "db stopped"}},
		{"check panics", "panic: odd", 1, []string{"check=guilty", "check guilty: panic: odd", "db stopped"}},
		{"check hangs", "instant=Started", 0, []string{"db stopped"}},
		{"logger hangs", "instant=Started", 0, []string{"db stopped", "the Logger has not written everything: it has not returned"}},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			p := run(t, tt.fault, "GRACE_PERIOD="+grace.String())
			p.waitFor(tt.ready)
			code, took := p.exit(p.signal(syscall.SIGTERM))
			assert.Equal(t, tt.code, code, p.out.String())
			assert.Less(t, took, grace, p.out.String())
			for _, want := range tt.want {
				assert.Contains(t, p.out.String(), want)
			}
		})
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
	for _, want := range []string{"component=web op=drain", "GET /guilty", "lifecycle_test.faulty", "db stopped"} {
		assert.Contains(t, p.out.String(), want)
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
			p.waitFor("instant=Drained")
			code, took := p.exit(p.signal(tt.signal))
			assert.Equal(t, tt.code, code)
			assert.Less(t, took, time.Second)
			assert.Contains(t, p.out.String(), "guilty (")
		})
	}
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
