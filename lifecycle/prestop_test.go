// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPreStopHook: the hook begins the shutdown and is answered when the accept
// window is over; the signal that comes then changes nothing.
func TestPreStopHook(t *testing.T) {
	t.Parallel()
	probes, addr := freeAddr(t), freeAddr(t)
	p := run(t, "none", "PROBE_ADDR="+probes, "ADDR="+addr, "PRE_STOP_TOKEN=secret", "SHUTDOWN_DELAY=1s")
	p.waitFor("instant=Started")
	ask := func(method, authorization string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+probes+"/prestop", nil)
		require.NoError(t, err)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	for _, authorization := range []string{"", "Bearer ", "Bearer wrong", "secret", "bearer secret ", "Basic secret"} {
		code, _ := ask("GET", authorization)
		require.Equal(t, 403, code, authorization)
	}
	for _, method := range []string{"POST", "HEAD", "OPTIONS"} {
		code, _ := ask(method, "Bearer secret")
		require.Equal(t, 405, code, method)
	}

	t0 := time.Now()
	code, body := ask("GET", "Bearer secret")
	assert.Equal(t, 200, code)
	assert.Equal(t, "the accept window is over\n", body)
	assert.GreaterOrEqual(t, time.Since(t0), time.Second, "the floor")
	_, err := net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	p.cmd.Process.Signal(syscall.SIGTERM) // which may find it gone
	code, _ = p.exit(t0)
	assert.Equal(t, 0, code, p.out.String())
	assert.Equal(t, 1, strings.Count(p.out.String(), "instant=ShutdownInitiated"))
	assert.Contains(t, p.out.String(), `reason="pre-stop hook"`)
}

func TestThereIsNoPreStopHookWithoutAToken(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := run(t, "none", "PROBE_ADDR="+addr)
	p.waitFor("instant=Started")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + addr + "/prestop")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 404, resp.StatusCode)
	p.exit(p.signal(syscall.SIGTERM))
}
