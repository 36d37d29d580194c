// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package more_test runs the example programs of this module as processes, with
// real signals and real sockets.
package more_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	if os.Getenv(shutdownEnv) != "" {
		shutdown()
		return
	}
	dir, err := os.MkdirTemp("", "more")
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

// shutdownEnv makes the test binary a plain server, to measure against.
const shutdownEnv = "LAMEDUCK_TEST_SHUTDOWN"

// shutdown echoes as websocket does, and at SIGTERM does what http.Server has for
// it, which does not know of hijacked connections.
func shutdown() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			typ, message, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), typ, message) != nil {
				return
			}
		}
	})}
	go srv.Serve(l)
	fmt.Println("instant=Started")
	<-ctx.Done()
	srv.Shutdown(context.Background())
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

// line returns the line that contains s.
func (o *output) line(s string) string {
	for line := range strings.Lines(o.String()) {
		if strings.Contains(line, s) {
			return line
		}
	}
	return ""
}

// start runs an example, and returns once it says that it has started.
func start(t *testing.T, name string, env ...string) *program {
	t.Helper()
	return startCommand(t, filepath.Join(bin, name), env...)
}

func startCommand(t *testing.T, command string, env ...string) *program {
	t.Helper()
	p := &program{t: t, addr: freeAddr(t), probe: freeAddr(t)}
	p.out.started = make(chan struct{})
	p.cmd = exec.CommandContext(t.Context(), command)
	p.cmd.Env = append(environ(), "PORT="+port(p.addr), "PROBE_PORT="+port(p.probe))
	p.cmd.Env = append(p.cmd.Env, env...)
	if slices.Contains(env, "PROBE_PORT=PORT") {
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
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"PORT", "PROBE_PORT", "GRACE_PERIOD", "PRE_STOP_DELAY", "KUBERNETES_SERVICE_HOST"}, name)
	})
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

// end sends SIGTERM and returns the exit status and the time until the exit.
func (p *program) end() (code int, took time.Duration) {
	p.t.Helper()
	t0 := time.Now()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	err := p.cmd.Wait()
	took = time.Since(t0)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), took
	}
	require.NoError(p.t, err)
	return 0, took
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

var programs = []string{"sse", "websocket"}

func TestContract(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name)
			require.Eventually(t, func() bool { return p.get(p.probe, "/readyz") == 200 }, 10*time.Second, 5*time.Millisecond,
				"the checks have run")
			assert.Equal(t, []int{200, 200}, []int{p.get(p.probe, "/livez"), p.get(p.probe, "/startupz")})
			assert.Equal(t, 404, p.get(p.addr, "/readyz"), "the probes have a port of their own")
			assert.Equal(t, []int{200, 400}, []int{p.get(p.addr, "/work?bytes=1000"), p.get(p.addr, "/work?ms=x")})
			code, _ := p.end()
			assert.Zero(t, code, p.out.String())
		})
		t.Run(name+" with the probes on the main router", func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			assert.Equal(t, []int{200, 200}, []int{p.get(p.addr, "/livez"), p.get(p.addr, "/work")})
			code, _ := p.end()
			assert.Zero(t, code, p.out.String())
		})
	}
}

// apart returns the time between the first and the last of some instants.
func apart(instants []time.Time) time.Duration {
	return slices.MaxFunc(instants, time.Time.Compare).Sub(slices.MinFunc(instants, time.Time.Compare))
}
