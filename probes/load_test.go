// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// Thousands of probes over real connections, and clients that go away in the middle,
// while a hundred checks run, one hangs, one panics and one is now up, now down:
// every answer is one of those that are true, and what runs is bounded.
func TestProbesUnderLoad(t *testing.T) {
	const (
		clients = 4
		each    = 500 // probes of a client in a round
		checks  = 100
	)
	const every = time.Millisecond // so that results come all the time
	r := &probes.Registry{Logger: slog.New(slog.DiscardHandler), OnChange: func(probes.Change) { panic("listener") }}
	release := make(chan struct{})
	var hung atomic.Int32
	var mode atomic.Int32 // of flaps
	const up, down, flapping = 0, 1, 2
	var calls int // of flaps
	require.NoError(t, r.AddReadiness(
		probes.Check{Name: "hangs", Optional: true, Func: func(context.Context) error { hung.Add(1); <-release; return nil }},
		probes.Check{Name: "panics", Optional: true, Interval: every, Timeout: time.Minute, Func: func(context.Context) error { panic("check") }},
		probes.Check{Name: "flaps", Interval: every, Timeout: time.Minute, Func: func(context.Context) error {
			calls++
			if m := mode.Load(); m == down || m == flapping && calls%2 == 0 {
				return errDown
			}
			return nil
		}},
	))
	for i := range checks - 3 {
		require.NoError(t, r.AddReadiness(probes.Check{Name: fmt.Sprint(i), Interval: every * time.Duration(i+1), Timeout: time.Minute, Func: pass}))
	}
	_, err := r.AddHeartbeat("worker", time.Hour)
	require.NoError(t, err)
	r.Started()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	srv := httptest.NewServer(mounted(r))

	const (
		ready    = "200 ok, degraded: hangs, panics\n"
		notReady = "503 not ready: flaps\n"
	)
	targets := map[string][]string{ // what is true in each mode
		"/livez":                {okBody, okBody},
		"/livez/worker":         {okBody, okBody},
		"/startupz":             {okBody, okBody},
		"/readyz":               {ready, notReady},
		"/servingz":             {ready, notReady},
		"/readyz/flaps":         {okBody, notReady},
		"/readyz/hangs":         {"200 ok, degraded: hangs\n", "200 ok, degraded: hangs\n"},
		"/readyz?exclude=flaps": {ready + "excluded: flaps\n", ready + "excluded: flaps\n"},
		"/readyz?format=json": {
			`200 {"status":"warn","description":"readiness","output":"ok, degraded: hangs, panics"}` + "\n",
			`503 {"status":"fail","description":"readiness","output":"not ready: flaps"}` + "\n",
		},
	}
	var paths []string
	for path := range targets {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	var answered, wrong, most atomic.Int64
	round := func(m int32) {
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				transport := &http.Transport{MaxIdleConnsPerHost: 1}
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport}
				for i := range each {
					path := paths[(i+c)%len(paths)]
					if i%25 == 0 {
						goesAway(t, srv.Listener.Addr().String(), path)
						most.Store(max(most.Load(), int64(goroutines())))
					}
					resp, err := client.Get(srv.URL + path)
					if !assert.NoError(t, err) {
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					answered.Add(1)
					got, may := fmt.Sprintf("%d %s", resp.StatusCode, body), targets[path]
					if m != flapping {
						may = may[m : m+1]
					}
					if err != nil || !slices.Contains(may, got) {
						wrong.Add(1)
						t.Errorf("%s: %q, %v", path, got, err)
					}
				}
			})
		}
		wg.Wait()
	}
	for _, m := range []int32{up, down, flapping} {
		mode.Store(m)
		if m != flapping {
			for s := range r.Watch(ctx) {
				if s.Ready == (m == up) && (s.Ready || s.Reason == "not ready: flaps") {
					break
				}
			}
		}
		round(m)
	}
	assert.EqualValues(t, 3*clients*each, answered.Load())
	assert.Zero(t, wrong.Load())
	assert.LessOrEqual(t, most.Load(), int64(checks+1), "a goroutine for each check that runs, and one that delivers")
	assert.EqualValues(t, 1, hung.Load())
	r.Shutdown()
	resp, err := srv.Client().Get(srv.URL + "/readyz")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	srv.Close()
	cancel()
	require.NoError(t, <-ran)
	close(release)
}

// goesAway asks, and is gone before the answer.
func goesAway(t *testing.T, addr, path string) {
	conn, err := net.Dial("tcp", addr)
	if assert.NoError(t, err) {
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		conn.Close()
	}
}
