// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package more_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// unreachable are addresses where nobody is.
func unreachable(t *testing.T) []string {
	t.Helper()
	return []string{
		"DATABASE_URL=postgres://postgres@" + proc.FreeAddr(t) + "/postgres?sslmode=disable",
		"REDIS_URL=redis://" + proc.FreeAddr(t),
		"NATS_URL=nats://" + proc.FreeAddr(t),
		"API_URL=http://" + proc.FreeAddr(t),
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + proc.FreeAddr(t),
	}
}

// TestAddressInUse: the component is named, and the status is that of a failed start.
func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() }) // not before the parallel tests are over
	_, taken, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for _, name := range []string{"gin", "echo", "sse", "websocket", "metrics", "tracing"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, name, "PORT="+taken, "PROBE_PORT="+proc.Port(proc.FreeAddr(t)))
			status := ends(p)
			assert.Equal(t, 3, status, p.Output())
			assert.Contains(t, p.Line("failed to start"), "component=http", p.Output())
			assert.Contains(t, p.Output(), "address already in use")
		})
	}
	for _, name := range []string{"gin", "echo", "sse", "websocket", "metrics", "tracing", "store", "queue", "cron"} {
		t.Run(name+", of the probes", func(t *testing.T) {
			t.Parallel()
			p := launch(t, name, append(unreachable(t), "PORT="+proc.Port(proc.FreeAddr(t)), "PROBE_PORT="+taken)...)
			status := ends(p)
			assert.Equal(t, 3, status, p.Output())
			assert.Contains(t, p.Output(), "start probes: ")
		})
	}
}

// ends waits for the end of a process that should come by itself.
func ends(p *proc.Process) (status int) {
	kill := time.AfterFunc(patience, p.Kill)
	defer kill.Stop()
	status, _ = p.Wait()
	return status
}

// TestBadEnvironment: what is wrong is said by its name or by its value, and nothing
// runs.
func TestBadEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name, env string
		status    int
		says      string
	}{
		{"gin", "PORT=web", 3, "web"},
		{"echo", "PROBE_PORT=-1", 3, "start probes: "},
		{"sse", "PORT=65536", 2, `PORT: "65536" is not a port number`},
		{"websocket", "PROBE_PORT=x", 2, `PROBE_PORT: "x" is not a port number`},
		{"metrics", "GRACE_PERIOD=30", 2, "GRACE_PERIOD"},
		{"tracing", "SHUTDOWN_DELAY=1h", 2, "floor"},
		{"store", "DATABASE_URL=postgres://%", 2, "DATABASE_URL: "},
		{"store", "REDIS_URL=localhost", 2, "REDIS_URL: "},
		{"queue", "NATS_URL=nats://%", 3, "component=nats"},
		{"cron", "SCHEDULE=now and then", 2, "SCHEDULE: "},
		{"cron", "API_URL=localhost:80", 2, "API_URL: "},
	} {
		t.Run(tt.name+" "+tt.env, func(t *testing.T) {
			t.Parallel()
			p := launch(t, tt.name, append(unreachable(t), "PORT="+proc.Port(proc.FreeAddr(t)), "PROBE_PORT="+proc.Port(proc.FreeAddr(t)), tt.env)...)
			status := ends(p)
			assert.Equal(t, tt.status, status, p.Output())
			assert.Contains(t, p.Output(), tt.says)
		})
	}
}

// TestSignalWhileADependencyIsWaitedFor: readiness names it, the log says why it is
// waited for, and a signal then ends the process, well.
func TestSignalWhileADependencyIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		missing []string // in any order: they start side by side
		why     string
	}{
		{"store", []string{"postgres", "redis"}, "waiting for=postgres"},
		{"queue", []string{"nats"}, "no servers available"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			probe := proc.FreeAddr(t)
			p := launch(t, tt.name, append(unreachable(t), "PORT=0", "PROBE_PORT="+proc.Port(probe))...)
			require.Eventually(t, func() bool {
				code, line := get(t, "http://"+probe+"/readyz")
				names, found := strings.CutPrefix(strings.TrimSpace(line), "not ready: starting, missing: ")
				missing := strings.Split(names, ", ")
				slices.Sort(missing)
				return code == 503 && found && slices.Equal(missing, tt.missing)
			}, patience, 20*time.Millisecond, p.Output())
			p.Await(tt.why, patience)
			status, _ := p.End(syscall.SIGTERM, patience)
			assert.Zero(t, status, p.Output())
			assert.NotContains(t, p.Output(), "level=ERROR")
		})
	}
}

// TestDependencyThatHangs: readiness names it, though it takes connections and is
// silent, and it does not keep the process.
func TestDependencyThatHangs(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		cache, redisURL := startRedis(t)
		db, databaseURL := startPostgres(t)
		for _, tt := range []struct {
			name string
			*backend
		}{{"postgres", db}, {"redis", cache}} {
			p := start(t, "store", "DATABASE_URL="+databaseURL, "REDIS_URL="+redisURL)
			awaitReadiness(t, p.Probe, 200, "ok\n")
			resume := halt(t, tt.backend)
			awaitReadiness(t, p.Probe, 503, "not ready: "+tt.name+"; skipped: orders\n")
			code, _ := p.end()
			assert.Zero(t, code, "%s: %s", tt.name, p.Output())
			resume()
		}
	})
	t.Run("queue", func(t *testing.T) {
		t.Parallel()
		broker, url := startNATS(t)
		p := start(t, "queue", "NATS_URL="+url)
		awaitReadiness(t, p.Probe, 200, "ok\n")
		resume := halt(t, broker)
		defer resume()
		awaitReadiness(t, p.Probe, 503, "not ready: nats; skipped: orders\n")
		code, took := p.end()
		assert.Zero(t, code, p.Output())
		t.Logf("queue: exit after %v", took)
	})
}

// TestSignalWhileADependencyIsDown: nothing is waited for that cannot come.
func TestSignalWhileADependencyIsDown(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		cache, redisURL := startRedis(t)
		db, databaseURL := startPostgres(t)
		p := start(t, "store", "DATABASE_URL="+databaseURL, "REDIS_URL="+redisURL)
		awaitReadiness(t, p.Probe, 200, "ok\n")
		db.end()
		cache.end()
		awaitReadiness(t, p.Probe, 503, "not ready: postgres, redis; skipped: orders\n")
		code, _ := p.end()
		assert.Zero(t, code, p.Output())
	})
	t.Run("queue", func(t *testing.T) {
		t.Parallel()
		broker, url := startNATS(t)
		p := start(t, "queue", "NATS_URL="+url)
		awaitReadiness(t, p.Probe, 200, "ok\n")
		broker.end()
		awaitReadiness(t, p.Probe, 503, "not ready: nats; skipped: orders\n")
		code, took := p.end()
		assert.Zero(t, code, p.Output())
		t.Logf("queue: exit after %v", took)
	})
	t.Run("cron", func(t *testing.T) {
		t.Parallel()
		p := start(t, "cron", append(unreachable(t), "SCHEDULE=@every 1s")...)
		awaitReadiness(t, p.Probe, 503, "not ready: api; skipped: cron\n")
		p.Await("connection refused", patience) // a job has begun, and failed
		code, _ := p.end()
		assert.Zero(t, code, p.Output())
	})
}

// TestCollectorIsNoReasonNotToBeReady: requests do without it.
func TestCollectorIsNoReasonNotToBeReady(t *testing.T) {
	t.Parallel()
	roll(t, "tracing", "/work", append(unreachable(t), "OTEL_EXPORTER_OTLP_TIMEOUT=100")...)
}

// TestJobThatIsRefusedIsAnError: an answer is not enough.
func TestJobThatIsRefusedIsAnError(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer api.Close()
	p := start(t, "cron", "API_URL="+api.URL, "SCHEDULE=@every 1s")
	p.Await("403 Forbidden", patience)
	code, _ := p.end()
	assert.Zero(t, code, p.Output())
}

// halt stops a server and the processes that it has started, as a machine does that
// has no time for them.
func halt(t *testing.T, b *backend) (resume func()) {
	t.Helper()
	pids := []int{b.cmd.Process.Pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pids[0])) // Linux
	for field := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	signal := func(s syscall.Signal) {
		for _, pid := range pids {
			syscall.Kill(pid, s)
		}
	}
	signal(syscall.SIGSTOP)
	resume = sync.OnceFunc(func() { signal(syscall.SIGCONT) })
	t.Cleanup(resume) // before it is told to end
	return resume
}
