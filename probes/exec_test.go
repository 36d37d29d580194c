// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A process of its own is made of the test binary: myservice, whose arguments and
// probe listener are in the environment.
const (
	argsEnv = "LAMEDUCK_TEST_EXEC_ARGS"
	addrEnv = "LAMEDUCK_TEST_EXEC_ADDR"
)

func init() {
	if args, ok := os.LookupEnv(argsEnv); ok {
		os.Args = append([]string{"myservice"}, strings.Fields(args)...)
		probes.Exec(os.Getenv(addrEnv))
		os.Stdout.WriteString("serving")
		os.Exit(0)
	}
}

// myservice runs myservice and returns its exit status and what it prints.
func myservice(t *testing.T, addr, args string) (status int, out string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), argsEnv+"="+args, addrEnv+"="+addr)
	b, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

func TestExec(t *testing.T) {
	var r probes.Registry
	mux := http.NewServeMux()
	r.Mount(mux)
	mux.Handle("/internal/readyz", r.ReadyHandler())
	mux.Handle("/moved", http.RedirectHandler("/livez", http.StatusFound))
	s := httptest.NewServer(mux)
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)

	run := func(args string, status int, out string) {
		t.Helper()
		gotStatus, gotOut := myservice(t, "0.0.0.0:"+port, args)
		assert.Equal(t, out, strings.TrimSuffix(gotOut, "\n"))
		assert.Equal(t, status, gotStatus)
	}
	run("probe ready", 1, "failure: 503 Service Unavailable: not ready: starting")
	r.Started()
	run("probe ready", 0, "success: ok")
	run("probe", 3, "unknown: usage: probe live|ready|startup|/path")
	run("serve probe", 0, "serving")
	run("", 0, "serving")

	ask := func(probe string, result probes.Exit, said string) {
		t.Helper()
		gotResult, gotSaid := probes.Ask(t.Context(), ":"+port, probe)
		assert.Equal(t, said, gotSaid)
		assert.Equal(t, result, gotResult)
	}
	ask("startup", probes.Success, "ok")
	ask("/internal/readyz", probes.Success, "ok")
	ask("/nowhere", probes.Failure, "404 Not Found: 404 page not found")
	ask("/moved", probes.Failure, `302 Found: <a href="/livez">Found</a>.`)
	r.Shutdown()
	ask("ready", probes.Failure, "503 Service Unavailable: not ready: shutting down")
	ask("live", probes.Success, "ok")
	ask("dead", probes.Unasked, `no probe is called "dead": live, ready, startup, or a path`)
}

func TestExecOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() // it accepts, and says nothing
	began := time.Now()
	status, out := myservice(t, l.Addr().String(), "probe ready")
	assert.Equal(t, "failure: context deadline exceeded\n", out)
	assert.Equal(t, 1, status)
	assert.GreaterOrEqual(t, time.Since(began), 900*time.Millisecond)

	result, said := probes.Ask(t.Context(), "no port", "ready")
	assert.Equal(t, "address no port: missing port in address", said)
	assert.Equal(t, probes.Unasked, result)
}

func TestAsk(t *testing.T) {
	body := strings.Repeat("x", 5<<10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http.MethodGet, r.Method)
		assert.True(t, r.Close, "a connection for each")
		switch r.URL.Path {
		case "/long":
			w.Write([]byte(body))
		case "/half":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	addr := s.Listener.Addr().String()
	ask := func(probe string, result probes.Exit, said string) {
		t.Helper()
		gotResult, gotSaid := probes.Ask(t.Context(), addr, probe)
		assert.Equal(t, said, gotSaid)
		assert.Equal(t, result, gotResult)
	}
	ask("/long", probes.Success, body[:4<<10])
	ask("/half", probes.Success, "half")
	ask("/empty", probes.Failure, "204 No Content: ")
	ask("/%zz", probes.Unasked, `parse "http://localhost/%zz": invalid URL escape "%zz"`)
	ask("", probes.Unasked, `no probe is called "": live, ready, startup, or a path`)
	s.Close()

	result, said := probes.Ask(t.Context(), addr, "ready")
	assert.Equal(t, probes.Failure, result)
	assert.Contains(t, said, "refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, said = probes.Ask(ctx, addr, "ready")
	assert.Equal(t, probes.Failure, result)
	assert.Equal(t, "context canceled", said)
}

func ExampleExec() {
	const probeAddr = ":8081"
	probes.Exec(probeAddr) // myservice probe ready
	// From here on it is the service itself, with its probes at probeAddr.
}
