// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// TestCronFinishesItsJob: a job that runs at SIGTERM is finished, and none begins.
func TestCronFinishesItsJob(t *testing.T) {
	t.Parallel()
	began, finish := make(chan struct{}, 100), make(chan struct{})
	var finished, cancelled atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			return // a check
		}
		began <- struct{}{}
		select {
		case <-finish:
			finished.Add(1)
		case <-r.Context().Done():
			cancelled.Add(1)
		}
	}))
	defer api.Close()
	p := start(t, "cron", "API_URL="+api.URL, "SCHEDULE=@every 1s")
	<-began
	require.NoError(t, p.Signal(syscall.SIGTERM))
	p.Await("instant=ShutdownInitiated", patience)
	awaitReadiness(t, p.Probe, 503, "not ready: shutting down\n")
	select {
	case <-p.Exited():
		t.Error("the job is left behind")
	case <-time.After(500 * time.Millisecond): // it has nothing else to wait for
	}
	close(finish)
	code, _ := p.Wait()
	assert.Zero(t, code, p.Output())
	assert.EqualValues(t, 1, finished.Load(), p.Output())
	assert.Zero(t, cancelled.Load())
	assert.Empty(t, began, "a job has begun after the signal")
	assert.NotContains(t, p.Output(), "level=ERROR")
}

// TestShutdownForgetsJobs is what TestCronFinishesItsJob is measured against.
func TestShutdownForgetsJobs(t *testing.T) {
	t.Parallel()
	began, cancelled := make(chan struct{}), make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(cancelled)
	}))
	defer api.Close()
	p := program{proc.Serve(t, os.Args[0], naiveEnv+"=net/http", "API_URL="+api.URL, "GORACE=atexit_sleep_ms=0")}
	<-began
	code, _ := p.end()
	assert.Zero(t, code, p.Output())
	select {
	case <-cancelled:
	case <-time.After(patience):
		assert.Fail(t, "the baseline finishes its job, so this test tests nothing")
	}
}

func TestCronNamesItsDependency(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer api.Close()
	p := start(t, "cron", "API_URL="+api.URL, "SCHEDULE=@every 1h")
	awaitReadiness(t, p.Probe, 200, "ok\n")
	away.Store(true)
	awaitReadiness(t, p.Probe, 503, "not ready: api; skipped: cron\n")
	away.Store(false)
	awaitReadiness(t, p.Probe, 200, "ok\n")
	code, _ := p.end()
	assert.Zero(t, code, p.Output())
}
