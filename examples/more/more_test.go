// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package more_test runs the example programs of this module as processes, with
// real signals and real sockets.
package more_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	if name := os.Getenv(naiveEnv); name != "" {
		naive(name)
		return
	}
	if os.Getenv(natsEnv) != "" {
		natsServer()
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

// A program is an example in a process of its own.
type program struct{ *proc.Server }

// start runs an example, and returns once it says that it has started.
func start(t *testing.T, name string, env ...string) program {
	t.Helper()
	return program{proc.Serve(t, filepath.Join(bin, name), env...)}
}

// end sends SIGTERM and returns the exit status and the time until the exit.
func (p program) end() (code int, took time.Duration) { return p.End(syscall.SIGTERM, time.Minute) }

// patience is how long what has to come may take, on a machine that does much else.
const patience = time.Minute

// get returns the status and the body of an answer, or 0. It leaves no connection behind.
func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// awaitReadiness returns when /readyz answers with a status and a line.
func awaitReadiness(t *testing.T, probe string, code int, line string) {
	t.Helper()
	var gotCode int
	var got string
	ok := assert.Eventually(t, func() bool {
		gotCode, got = get(t, "http://"+probe+"/readyz")
		return gotCode == code && got == line
	}, patience, 20*time.Millisecond)
	require.True(t, ok, "want %d %q, the last was %d %q", code, line, gotCode, got)
}

var programs = []string{"sse", "websocket", "gin", "echo"}

func TestContract(t *testing.T) {
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, name)
			require.Eventually(t, func() bool { return p.Get(p.Probe, "/readyz") == 200 }, time.Minute, 5*time.Millisecond,
				"the checks have run")
			assert.Equal(t, []int{200, 200}, []int{p.Get(p.Probe, "/livez"), p.Get(p.Probe, "/startupz")})
			assert.Equal(t, 404, p.Get(p.Addr, "/readyz"), "the probes have a port of their own")
			assert.Equal(t, []int{200, 400}, []int{p.Get(p.Addr, "/work?bytes=1000"), p.Get(p.Addr, "/work?ms=x")})
			code, _ := p.end()
			assert.Zero(t, code, p.Output())
		})
		t.Run(name+" with the probes on the main router", func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			assert.Equal(t, []int{200, 200}, []int{p.Get(p.Addr, "/livez"), p.Get(p.Addr, "/work")})
			code, _ := p.end()
			assert.Zero(t, code, p.Output())
		})
	}
}

// apart returns the time between the first and the last of some instants.
func apart(instants []time.Time) time.Duration {
	return slices.MaxFunc(instants, time.Time.Compare).Sub(slices.MinFunc(instants, time.Time.Compare))
}
