// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

const (
	noJitter = 9 * time.Nanosecond // an interval too short to be shortened
	forLong  = time.Hour
	okBody   = "200 ok\n"
	starting = "503 not ready: starting\n"
	shutdown = "503 not ready: shutting down\n"
)

var errDown = errors.New("connection refused (password=hunter2)")

func pass(context.Context) error { return nil }
func fail(context.Context) error { return errDown }

// A rig is a registry that has started, and what it logs.
type rig struct {
	*probes.Registry
	t    *testing.T
	logs logBuffer
	stop context.CancelFunc
	ran  chan error
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, Registry: new(probes.Registry), ran: make(chan error, 1)}
	r.Logger = slog.New(slog.NewTextHandler(&r.logs, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	r.Started()
	return r
}

// run runs the registry until the end of the test, or of stop, and returns when
// the first runs are over or hang.
func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ran <- r.Run(ctx) }()
	synctest.Wait()
}

// end ends the run, and returns how long Run took to return.
func (r *rig) end() time.Duration {
	r.t.Helper()
	t0 := time.Now()
	r.stop()
	require.NoError(r.t, <-r.ran)
	return time.Since(t0)
}

func (r *rig) ready(name string, f func(context.Context) error) {
	r.t.Helper()
	require.NoError(r.t, r.AddReadiness(probes.Check{Name: name, Func: f}))
}

// log returns the lines logged on checks since the last call.
func (r *rig) log() string {
	var lines []string
	for line := range strings.Lines(r.all()) {
		if !strings.Contains(line, `msg="probes: probe `) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// all returns all lines logged since the last call.
func (r *rig) all() string {
	synctest.Wait()
	return r.logs.take()
}

// A logBuffer is where lines are written while a test reads them.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

// get returns an answer's status and body.
func get(h http.Handler) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return strconv.Itoa(w.Code) + " " + w.Body.String()
}

func (r *rig) live() string    { synctest.Wait(); return get(r.LiveHandler()) }
func (r *rig) readyz() string  { synctest.Wait(); return get(r.ReadyHandler()) }
func (r *rig) startup() string { synctest.Wait(); return get(r.StartupHandler()) }

// request returns the answer to a request from this host.
func request(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequest(method, target, nil)
	req.RemoteAddr, req.Host = "127.0.0.1:1234", "localhost"
	h.ServeHTTP(w, req)
	return w
}

// goroutines returns how many goroutines registries have started, in the bubble if it
// is called in one: outside of it there may be those of earlier tests that are about
// to end, which runtime.NumGoroutine counts, too. Those of the bubble that can go on
// have done so by then: a check that is due at this very instant is not counted.
func goroutines() (n int) {
	stacks := make([]byte, 1<<20)
	all := func() string { return string(stacks[:runtime.Stack(stacks, true)]) }
	own, _, _ := strings.Cut(all(), "\n")
	bubbled := strings.Contains(own, "synctest bubble")
	if bubbled {
		synctest.Wait()
	}
	for stack := range strings.SplitSeq(all(), "\n\n") {
		header, calls, _ := strings.Cut(stack, "\n")
		if bubbled == strings.Contains(header, "synctest bubble") && strings.Contains(calls, "\ncreated by github.com/lameduck-go/lameduck/probes.") {
			n++
		}
	}
	return n
}

// sick runs a registry with a check of every sort, and calls f.
func sick(t *testing.T, f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "db", Func: fail},
			probes.Check{Name: "orders", DependsOn: []string{"db"}, Func: pass},
			probes.Check{Name: "cache", Optional: true, Func: fail},
			probes.Check{Name: "slow", Optional: true, Func: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			probes.Check{Name: "odd", Optional: true, Func: func(context.Context) error { panic("hunter2") }},
			probes.Check{Name: "a/b c/é", Func: pass},
		))
		require.NoError(t, r.AddLiveness("db", func() error { return nil }))
		r.run()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f(r)
		r.end()
	})
}

const (
	sickLine = "not ready: db; skipped: orders\n"
	sickText = sickLine + `[+]a/b c/é ok
[~]cache degraded: reason withheld
[-]db failed: reason withheld
[~]odd degraded: panicked
[-]orders failed: skipped because of db
[~]slow degraded: timed out after 1s
`
)
