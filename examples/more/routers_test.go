// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// rolled are the programs that serve HTTP, each with a path of its own and the naive
// one to measure against. TestStore rolls another one.
var rolled = []struct{ name, path, naive string }{
	{"gin", "/work", "gin"},
	{"echo", "/work", "echo"},
	{"sse", "/work", "net/http"},
	{"websocket", "/work", "net/http"},
	{"metrics", "/work", "net/http"},
	{"tracing", "/work", "net/http"},
}

func TestRoll(t *testing.T) {
	for _, tt := range rolled {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			roll(t, tt.name, tt.path)
			naiveLoses(t, tt.naive, tt.path)
		})
	}
}

// roll terminates a program under clients that never retry, and learn of it within 0.8 s
// of a floor of 2 s. Nothing may be lost, and each server has to stay for its floor: it
// would go earlier, and lose nothing here, where all these clients make it quiet.
func roll(t *testing.T, name, path string, env ...string) (answered int) {
	t.Helper()
	const floor = 2 * time.Second
	var output bytes.Buffer
	c := rollConfig(path, &output)
	c.Command = []string{filepath.Join(bin, name)}
	c.Env = append(env, "SHUTDOWN_DELAY="+floor.String(), "GRACE_PERIOD=20s")
	report, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	t.Logf("%s:\n%v", name, report)
	assert.Zero(t, report.Lost(), "%v", report)
	for _, k := range report.Kinds {
		assert.NotZero(t, k.OK, k.Kind)
		answered += k.OK
	}
	windows := regexp.MustCompile(`instant=AcceptWindowClosed .*after=(\S+)`).FindAllStringSubmatch(output.String(), -1)
	assert.Len(t, windows, c.Terminations+1, "%s", &output)
	for _, w := range windows {
		after, err := time.ParseDuration(w[1]) // T0, from which the floor counts
		require.NoError(t, err)
		assert.GreaterOrEqual(t, after, floor)
	}
	return answered
}

// naiveLoses rolls a naive service, until it loses something.
func naiveLoses(t *testing.T, name, path string) {
	t.Helper()
	sum := new(draintest.Report)
	for range 3 {
		c := rollConfig(path, nil)
		c.Command, c.Env = os.Args[:1], []string{naiveEnv + "=" + name, "GORACE=atexit_sleep_ms=0"}
		report, err := draintest.Roll(t.Context(), c)
		require.NoError(t, err)
		if sum.Add(report); sum.Lost() > 0 {
			break
		}
	}
	t.Logf("%s with http.Server.Shutdown:\n%v", name, sum)
	assert.NotZero(t, sum.Lost(), "the baseline loses nothing, so this test tests nothing")
}

func rollConfig(path string, output io.Writer) draintest.Config {
	const low, high = 20 * time.Millisecond, 200 * time.Millisecond
	return draintest.Config{
		Path:         path,
		Output:       output,
		Terminations: 2,
		Propagation:  800 * time.Millisecond,
		Settle:       300 * time.Millisecond,
		Kinds: []draintest.Kind{
			{Name: "keeps its connection", MinThink: low, MaxThink: high, Clients: 8},
			{Name: "new connection", NewConn: true, MinThink: low, MaxThink: high, Clients: 4},
		},
	}
}

// TestLateClient: a client of a balancer that learns late comes when all others have
// been gone for long. It is served, by a process that says that it is not ready, and
// not by one without a floor, which sees nobody and leaves.
func TestLateClient(t *testing.T) {
	for _, tt := range rolled {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			late(t, tt.name, tt.path)
		})
	}
}

func late(t *testing.T, name, path string, env ...string) {
	t.Helper()
	leave := func(floor, instant string) program {
		p := start(t, name, append(env, "SHUTDOWN_DELAY="+floor, "GRACE_PERIOD=20s")...)
		require.Equal(t, http.StatusOK, p.Get(p.Addr, path), p.Output())
		require.NoError(t, p.Signal(syscall.SIGTERM))
		p.Await("instant="+instant, patience)
		return p
	}
	p := leave("5s", "ShutdownInitiated")
	code, line := get(t, "http://"+p.Probe+"/readyz")
	assert.Equal(t, "503 not ready: shutting down\n", fmt.Sprint(code, " ", line), "the balancer has to be told at once")
	<-time.After(2500 * time.Millisecond) // of the floor; the quiet period is 2 s
	assert.Equal(t, []int{200, 200}, []int{p.Get(p.Addr, path), p.Get(p.Probe, "/livez")}, p.Output())
	code, _ = p.Wait()
	assert.Zero(t, code, p.Output())

	p = leave("0s", "AcceptWindowClosed")
	assert.Zero(t, p.Get(p.Addr, path), "without a floor nothing is lost, so this test tests nothing")
	code, _ = p.Wait()
	assert.Zero(t, code, p.Output())
}

// TestProbesOnTheRouter: gin and echo have patterns of their own for the sub-paths.
func TestProbesOnTheRouter(t *testing.T) {
	for _, name := range []string{"gin", "echo"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/readyz/": 200, "/startupz": 200, "/readyz/nothing": 404, "/nothing": 404} {
				assert.Equal(t, want, p.Get(p.Addr, path), path)
			}
			_, ours := get(t, "http://"+p.Addr+"/readyz/nothing")
			_, theirs := get(t, "http://"+p.Addr+"/nothing")
			assert.NotEqual(t, theirs, ours, "the sub-paths are the probes' own")
			code, _ := p.end()
			assert.Zero(t, code, p.Output())
		})
	}
}
