// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestSecurityPreStopHookThatGoesAway: the shutdown that a hook has begun neither waits
// for it nor is taken back, and other hooks begin no second one.
func TestSecurityPreStopHookThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := lifecycle.HTTP("web", new(http.Server))
		web.Listen = func(context.Context) (net.Listener, error) { return memnet.Listen(), nil }
		a, log := app(web)
		a.ProbeAddr, a.PreStopToken, a.Floor = ":8081", "secret", 5*time.Second
		l := memnet.Listen()
		done := make(chan error, 1)
		go func() {
			done <- lifecycle.RunOn(t.Context(), a, func(context.Context, string, string) (net.Listener, error) { return l, nil })
		}()
		time.Sleep(time.Minute)
		t0 := time.Now()
		for range 3 {
			conn, err := l.Dial(t.Context())
			require.NoError(t, err)
			_, err = io.WriteString(conn, "GET /prestop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n")
			require.NoError(t, err)
			synctest.Wait()
			conn.Close()
			time.Sleep(time.Second)
		}
		require.NoError(t, <-done)
		assert.Equal(t, 5*time.Second, time.Since(t0))
		assert.Equal(t, "pre-stop hook", a.Report().Reason)
		assert.Equal(t, 1, strings.Count(log.String(), "instant=ShutdownInitiated"))
	})
}

// TestSecondSignalAfterAHookEndsAtOnce: the signal that follows the hook's call is the
// first one.
func TestSecondSignalAfterAHookEndsAtOnce(t *testing.T) {
	t.Parallel()
	probes := freeAddr(t)
	p := run(t, "none", "PROBE_ADDR="+probes, "ADDR="+freeAddr(t), "PRE_STOP_TOKEN=secret", "SHUTDOWN_DELAY=15s", "GRACE_PERIOD=60s")
	p.waitFor("instant=Started")
	hook, err := net.Dial("tcp", probes)
	require.NoError(t, err)
	defer hook.Close()
	_, err = io.WriteString(hook, "GET /prestop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n")
	require.NoError(t, err)
	p.waitFor("instant=ShutdownInitiated")
	t0 := p.signal(syscall.SIGTERM)
	p.signal(os.Interrupt)
	code, _ := p.exit(t0)
	assert.Contains(t, []int{130, 143}, code, p.out.String())
	assert.Contains(t, p.out.String(), "second signal, leaving at once")
	assert.Contains(t, p.out.String(), `reason="pre-stop hook"`)
}
