// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package examples_test runs the example programs as processes, with real
// signals and real sockets.
package examples_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/proc"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	if os.Getenv(sleeperEnv) != "" {
		sleeper()
		return
	}
	var err error
	if bin, err = proc.Build(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// start runs an example, and returns once it says that it has started.
func start(t *testing.T, name string, env ...string) *proc.Server {
	t.Helper()
	return proc.Serve(t, filepath.Join(bin, name), env...)
}

// patience is how long an example may take to leave.
const patience = time.Minute

var programs = []string{"minimal", "chi"}

func TestContract(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name)
			require.Eventually(t, func() bool { return p.Get(p.Probe, "/readyz") == 200 }, time.Minute, 5*time.Millisecond,
				"the checks have run")
			assert.Equal(t, []int{200, 200, 200}, []int{p.Get(p.Probe, "/livez"), p.Get(p.Probe, "/readyz"), p.Get(p.Probe, "/startupz")})
			assert.Equal(t, 404, p.Get(p.Addr, "/readyz"), "the probes have a port of their own")
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
				req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+p.Addr+"/work"+tt.query, strings.NewReader(tt.body))
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
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.Addr+"/work?bytes=3", strings.NewReader("hello"))
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
	code, _ := p.End(syscall.SIGTERM, patience)
	assert.Zero(t, code, p.Output())
}

func TestProbesOnTheMainRouter(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			assert.Equal(t, []int{200, 200}, []int{p.Get(p.Addr, "/livez"), p.Get(p.Addr, "/work")})
			code, _ := p.End(syscall.SIGTERM, patience)
			assert.Zero(t, code, p.Output())
		})
	}
}

func TestBadEnvironmentIsOneLineThatNamesIt(t *testing.T) {
	for _, name := range programs {
		for _, env := range []string{
			"PORT=http", "PORT=70000", "PROBE_PORT=-1", "GRACE_PERIOD=30", "GRACE_PERIOD=-1s", "SHUTDOWN_DELAY=five", "SHUTDOWN_DELAY=-1s",
		} {
			t.Run(name+" "+env, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name))
				cmd.Env = append(proc.Environ(), "PORT="+proc.Port(proc.FreeAddr(t)), "PROBE_PORT="+proc.Port(proc.FreeAddr(t)), env)
				out, _ := cmd.CombinedOutput()
				assert.Equal(t, 2, cmd.ProcessState.ExitCode(), "%s", out)
				assert.Equal(t, 1, bytes.Count(out, []byte("\n")), "%s", out)
				variable, _, _ := strings.Cut(env, "=")
				assert.Contains(t, string(out), variable)
			})
		}
	}
}

// TestInterruptIsInstant measures the time from an interrupt to the exit of an
// idle program outside Kubernetes: five times, and the median counts. Whatever it
// might wait for, the quiet period is the shortest.
func TestInterruptIsInstant(t *testing.T) {
	var all []time.Duration
	for range 5 {
		p := start(t, "minimal")
		code, took := p.End(os.Interrupt, patience)
		require.Zero(t, code, p.Output())
		all = append(all, took)
	}
	t.Logf("from SIGINT to exit: %v", all)
	assert.Less(t, median(all), drain.DefaultQuiet)
}

func TestFloorInsideKubernetes(t *testing.T) {
	p := start(t, "minimal", "KUBERNETES_SERVICE_HOST=10.0.0.1", "SHUTDOWN_DELAY=700ms")
	code, took := p.End(syscall.SIGTERM, patience)
	assert.Zero(t, code)
	assert.GreaterOrEqual(t, took, 700*time.Millisecond)
	assert.Contains(t, p.Output(), "floor=700ms")
}

func TestExamplesStayShort(t *testing.T) {
	_, here, _, _ := runtime.Caller(0)
	for _, name := range programs {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(here), name, "main.go"))
		require.NoError(t, err)
		assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), 80, name)
	}
}
