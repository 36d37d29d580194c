// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package examples_test runs the example programs as processes, with real
// signals and real sockets.
package examples_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	if os.Getenv(sleeperEnv) != "" {
		sleeper()
		return
	}
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		panic(err)
	}
	bin = dir
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// A program is an example in a process of its own.
type program struct {
	t           *testing.T
	cmd         *exec.Cmd
	out         output
	addr, probe string
}

// An output keeps what a program prints, and tells when it has started.
type output struct {
	started chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	started := []byte("instant=Started")
	before := bytes.Contains(o.buf.Bytes(), started)
	o.buf.Write(p)
	if !before && bytes.Contains(o.buf.Bytes(), started) {
		close(o.started)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs an example, and returns once it says that it has started.
func start(t *testing.T, name string, env ...string) *program {
	t.Helper()
	p := &program{t: t, addr: freeAddr(t), probe: freeAddr(t)}
	p.out.started = make(chan struct{})
	p.cmd = exec.CommandContext(t.Context(), filepath.Join(bin, name))
	p.cmd.Env = append(environ(), "PORT="+port(p.addr), "PROBE_PORT="+port(p.probe))
	p.cmd.Env = append(p.cmd.Env, env...)
	if len(env) > 0 && env[0] == "PROBE_PORT=PORT" {
		p.probe = p.addr
		p.cmd.Env = append(p.cmd.Env, "PROBE_PORT="+port(p.addr))
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	select {
	case <-p.out.started:
	case <-time.After(10 * time.Second):
		require.Fail(t, "not started", p.out.String())
	}
	return p
}

// environ is the environment without what would change the examples' defaults.
func environ() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "PORT", "PROBE_PORT", "GRACE_PERIOD", "PRE_STOP_DELAY", "KUBERNETES_SERVICE_HOST":
		default:
			env = append(env, e)
		}
	}
	return env
}

// get returns the status of an answer, or 0. It leaves no connection behind.
func (p *program) get(addr, path string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// end sends a signal and returns the exit status and the time until the exit.
func (p *program) end(s os.Signal) (code int, took time.Duration) {
	p.t.Helper()
	t0 := time.Now()
	require.NoError(p.t, p.cmd.Process.Signal(s))
	return exitCode(p.t, p.cmd.Wait()), time.Since(t0)
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

var programs = []string{"minimal", "chi"}

func TestContract(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name)
			require.Eventually(t, func() bool { return p.get(p.probe, "/readyz") == 200 }, 10*time.Second, 5*time.Millisecond,
				"the checks have run")
			assert.Equal(t, []int{200, 200, 200}, []int{p.get(p.probe, "/livez"), p.get(p.probe, "/readyz"), p.get(p.probe, "/startupz")})
			assert.Equal(t, 404, p.get(p.addr, "/readyz"), "the probes have a port of their own")
			for _, tt := range []struct {
				method, query string
				body          string
				code, size    int
			}{
				{"GET", "", "", 200, 2},
				{"POST", "", "hello", 200, 2},
				{"PUT", "?bytes=100000&ms=0", strings.Repeat("x", 1<<20), 200, 100000},
				{"DELETE", "?bytes=0", "", 200, 0},
				{"GET", "?ms=x", "", 400, -1},
				{"GET", "?bytes=-1", "", 400, -1},
			} {
				req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+p.addr+"/work"+tt.query, strings.NewReader(tt.body))
				require.NoError(t, err)
				resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				require.NoError(t, err)
				assert.Equal(t, tt.code, resp.StatusCode, "%s %s", tt.method, tt.query)
				if tt.size >= 0 {
					assert.Len(t, body, tt.size, "%s %s", tt.method, tt.query)
				}
			}
		})
	}
}

// TestChiSpeaksBoth asks one port in HTTP/1.1 and, by prior knowledge, in h2c.
func TestChiSpeaksBoth(t *testing.T) {
	p := start(t, "chi")
	for proto, set := range map[string]func(*http.Protocols, bool){
		"HTTP/1.1": (*http.Protocols).SetHTTP1,
		"HTTP/2.0": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		set(transport.Protocols, true)
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.addr+"/work?bytes=3", strings.NewReader("hello"))
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err, proto)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		transport.CloseIdleConnections()
		require.NoError(t, err, proto)
		assert.Equal(t, proto, resp.Proto)
		assert.Equal(t, 200, resp.StatusCode, proto)
		assert.Equal(t, "xxx", string(body), proto)
	}
	code, _ := p.end(syscall.SIGTERM)
	assert.Zero(t, code, p.out.String())
}

func TestProbesOnTheMainRouter(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			assert.Equal(t, []int{200, 200}, []int{p.get(p.addr, "/livez"), p.get(p.addr, "/work")})
			code, _ := p.end(syscall.SIGTERM)
			assert.Zero(t, code, p.out.String())
		})
	}
}

func TestBadEnvironmentIsOneLineThatNamesIt(t *testing.T) {
	for _, name := range programs {
		for _, env := range []string{
			"PORT=http", "PORT=70000", "PROBE_PORT=-1", "GRACE_PERIOD=30", "GRACE_PERIOD=-1s", "PRE_STOP_DELAY=five", "PRE_STOP_DELAY=-1s",
		} {
			t.Run(name+" "+env, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name))
				cmd.Env = append(environ(), "PORT="+port(freeAddr(t)), "PROBE_PORT="+port(freeAddr(t)), env)
				out, err := cmd.CombinedOutput()
				assert.Equal(t, 2, exitCode(t, err), "%s", out)
				assert.Equal(t, 1, bytes.Count(out, []byte("\n")), "%s", out)
				variable, _, _ := strings.Cut(env, "=")
				assert.Contains(t, string(out), variable)
			})
		}
	}
}

// TestInterruptIsInstant measures the time from an interrupt to the exit of an
// idle program outside Kubernetes: five times, and the median counts.
func TestInterruptIsInstant(t *testing.T) {
	var all []time.Duration
	for range 5 {
		p := start(t, "minimal")
		code, took := p.end(os.Interrupt)
		require.Zero(t, code, p.out.String())
		all = append(all, took)
	}
	t.Logf("from SIGINT to exit: %v", all)
	assert.Less(t, median(all), 100*time.Millisecond)
}

func TestFloorInsideKubernetes(t *testing.T) {
	p := start(t, "minimal", "KUBERNETES_SERVICE_HOST=10.0.0.1", "PRE_STOP_DELAY=700ms")
	code, took := p.end(syscall.SIGTERM)
	assert.Zero(t, code)
	assert.GreaterOrEqual(t, took, 700*time.Millisecond)
	assert.Contains(t, p.out.String(), "floor=700ms")
}

func TestExamplesStayShort(t *testing.T) {
	_, here, _, _ := runtime.Caller(0)
	for _, name := range programs {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(here), name, "main.go"))
		require.NoError(t, err)
		assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), 80, name)
	}
}
