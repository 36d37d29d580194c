// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package drain_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/proc"
)

// still is for how long a server stands still.
const still = 3 * time.Second

// A server that has stood still in the accept window has seen nobody come meanwhile, and
// has no reason to close the listener once it goes on, long after the floor.
func TestWindowOfAProcessThatStandsStill(t *testing.T) {
	t.Parallel()
	accept, _ := standStill(t, func(addr string) bool {
		var transport http.Transport
		defer transport.CloseIdleConnections()
		resp := getBy(&transport, addr)
		return resp != nil && resp.Close
	})
	assert.Greater(t, accept, still+drain.DefaultQuiet*9/10, "the quiet period begins when the process goes on")
}

// Nor are its connections idle for that long to their clients, who stood still with it.
func TestIdleConnectionsOfAProcessThatStandsStill(t *testing.T) {
	t.Parallel()
	_, linger := standStill(t, func(addr string) bool {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err == nil {
			c.Close() // this is no traffic, so it can become quiet
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	assert.Greater(t, linger, still+250*time.Millisecond)
}

// standStill has a server with an idle connection leave, and stand still once the time has
// come, by what its address says. It returns how long the accept window was, and how
// long the server then lingered.
func standStill(t *testing.T, come func(addr string) bool) (accept, linger time.Duration) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	addr := proc.FreeAddr(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(proc.Environ(), serverEnv+"="+modeDrain, floorEnv+"=500ms", "PORT="+proc.Port(addr), "PROBE_PORT=0")
	p, err := proc.Start(t, cmd)
	require.NoError(t, err)
	var kept http.Transport
	defer kept.CloseIdleConnections()
	require.Eventually(t, func() bool { return getBy(&kept, addr) != nil }, time.Minute, time.Millisecond)
	require.NoError(t, p.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return come(addr) }, time.Minute, time.Millisecond)
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	time.Sleep(still) // this is what is tested
	require.NoError(t, p.Signal(syscall.SIGCONT))
	p.Wait()
	took := regexp.MustCompile(`Accept:\{Took:(\S+) .*Linger:\{Took:(\S+) `).FindStringSubmatch(p.Output())
	require.NotNil(t, took, p.Output())
	accept, err = time.ParseDuration(took[1])
	require.NoError(t, err)
	linger, err = time.ParseDuration(took[2])
	require.NoError(t, err)
	return accept, linger
}

// getBy returns the answer of a server, or nil.
func getBy(transport *http.Transport, addr string) *http.Response {
	resp, err := (&http.Client{Transport: transport}).Get("http://" + addr)
	if err != nil {
		return nil
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}
