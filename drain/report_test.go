// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

func TestReportAndStatsCountEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hijacked []net.Conn
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/hijacked":
				hijacks(func(nc net.Conn) { hijacked = append(hijacked, nc) })(w, r)
			case "/slow":
				time.Sleep(time.Hour)
			}
		})
		at := func(ms int, f func()) { time.AfterFunc(time.Duration(ms)*time.Millisecond, f) }
		stats := func(want drain.Stats) {
			t.Helper()
			synctest.Wait()
			assert.Equal(t, want, r.srv.Stats())
		}

		inWindow, lingers, idle, silent, goes, stays := r.dial(), r.dial(), r.dial(), r.dial(), r.dial(), r.dial()
		stats(drain.Stats{Open: 6, New: 6})
		inWindow.get("/")
		lingers.get("/")
		idle.get("/")
		goes.send("/hijacked")
		synctest.Wait()
		stays.send("/hijacked")
		stats(drain.Stats{Open: 6, New: 1, Idle: 3, Hijacked: 2})
		for _, c := range []*client{idle, silent, goes, stays} {
			c.discard()
		}
		time.Sleep(time.Minute)

		// The window is open until 1600 ms: the floor, and a second after the
		// connection at 600 ms.
		at(500, func() { assert.True(t, inWindow.get("/").Close) })
		at(600, func() { assert.True(t, r.dial().get("/").Close) })
		at(650, func() { assert.True(t, r.dial().get("/readyz").Close) })
		at(1000, func() {
			c := r.dial()
			at(1100, func() { assert.True(t, c.get("/").Close) })
		})
		at(1550, func() { r.dial().Close() }) // without a byte, and by itself
		at(1700, func() { assert.True(t, lingers.get("/").Close) })
		at(2200, func() { hijacked[0].Close() })
		at(2300, func() { stats(drain.Stats{Open: 1, Hijacked: 1}) })

		report, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 9500*time.Millisecond, took)
		phase := func(took time.Duration, connections, requests int64) drain.PhaseReport {
			return drain.PhaseReport{Took: took, Connections: connections, Requests: requests}
		}
		assert.Equal(t, drain.Report{
			Accept:      phase(1600*time.Millisecond, 1, 2),
			Linger:      phase(7900*time.Millisecond, 1, 2),
			Quiet:       true,
			Told:        5, // the probe's answer among them
			Idle:        1,
			Silent:      1,
			Hijacked:    1,
			HijackedCut: 1,
			Cut:         []string{"hijacked connection from pipe"},
		}, report)
		assert.Equal(t, phase(took, 2, 4), report.Total())
		r.nothingOpen()
	})
}

func TestErrorNamesTenThingsAndCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 13
		release := make(chan struct{})
		r := start(t, &drain.Server{}, func(http.ResponseWriter, *http.Request) { <-release })
		for i := range n {
			c := r.dial()
			c.discard()
			c.send(fmt.Sprintf("/never/%02d", i))
		}
		synctest.Wait()
		assert.Equal(t, drain.Stats{Open: n, Active: n, InFlight: n}, r.srv.Stats())
		report, took, err := r.drain(20 * time.Second)
		assert.Equal(t, 20*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		require.Len(t, report.Cut, n)
		for i, line := range report.Cut {
			assert.Equal(t, fmt.Sprintf("GET /never/%02d (running for more than 19.5s)", i), line)
			assert.Equal(t, i < 10, strings.Contains(err.Error(), line))
		}
		assert.True(t, strings.HasSuffix(err.Error(), "; and 3 more"), err)
		// Their connections are closed, but they still run, and that is not hidden.
		assert.Equal(t, n, r.srv.Stats().Open)
		close(release)
		synctest.Wait()
		r.nothingOpen()
	})
}

// What brings it to its end does not change what a connection was: one that has
// brought a request is not silent.
func TestLateAndStalledConnectionsAreNotCountedAsSilent(t *testing.T) {
	t.Run("idle after the contexts are cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			c := r.dial()
			c.discard()
			c.send("/")
			synctest.Wait()
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 28*time.Second-drain.CancelMargin+drain.LookWait, took)
			assert.Zero(t, report.Silent)
			assert.EqualValues(t, 1, report.Idle)
			r.nothingOpen()
		})
	})
	t.Run("stalled in its second header", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Quiet: -1}, ok)
			c := r.dial()
			c.get("/")
			fmt.Fprint(c, "GET")
			c.discard()
			synctest.Wait()
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 5*time.Second+drain.LookWait, took)
			assert.Zero(t, report.Silent)
			assert.Zero(t, report.Idle)
			assert.EqualValues(t, 1, report.Unfinished)
			r.nothingOpen()
		})
	})
}

// A TLS handshake is no request, not for the cut either.
func TestTLSConnectionWithoutARequestIsNotNamedWhenItIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{}, hasTLS(t))
		c := r.dialTLS()
		c.discard()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := r.srv.Drain(ctx)
		<-r.served
		assert.NoError(t, err)
		assert.Empty(t, report.Cut)
		synctest.Wait()
		r.nothingOpen()
	})
}
