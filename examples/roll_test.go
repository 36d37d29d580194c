// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package examples_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// terminationsEnv raises the number of terminations; CI does the default.
const terminationsEnv = "LAMEDUCK_TERMINATIONS"

const defaultTerminations = 10

// sleeperEnv makes the test binary the usual recipe, to measure against.
const sleeperEnv = "LAMEDUCK_TEST_SLEEPER"

// sleeper serves as the examples do, and at SIGTERM sleeps for five seconds and
// calls Shutdown.
func sleeper() {
	srv := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(5 * time.Millisecond)
		io.WriteString(w, "ok")
	})}
	go http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), srv.Handler)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go srv.ListenAndServe()
	<-ctx.Done()
	time.Sleep(5 * time.Second)
	srv.Shutdown(context.Background())
}

// TestChiRolls terminates examples/chi again and again under clients that never
// retry, and the usual recipe beside it.
func TestChiRolls(t *testing.T) {
	terminations := defaultTerminations
	if s := os.Getenv(terminationsEnv); s != "" {
		var err error
		terminations, err = strconv.Atoi(s)
		require.NoError(t, err, terminationsEnv)
	}
	const propagation, floor = 2 * time.Second, 2 * time.Second

	var output bytes.Buffer
	ours := roll(t, draintest.Config{
		Command:      []string{filepath.Join(bin, "chi")},
		Env:          []string{"SHUTDOWN_DELAY=" + floor.String(), "GRACE_PERIOD=30s"},
		Terminations: terminations,
		Propagation:  propagation,
		Clients:      8,
		Output:       &output,
	})
	t.Logf("examples/chi, floor %v, propagation up to %v:\n%s", floor, propagation, ours)
	assert.Zero(t, ours.Lost())
	all := drains(output.String())
	require.Len(t, all, terminations+1, "the last server is terminated without load")
	for _, d := range all {
		d.leavesByItself(t, floor)
	}

	// The recipe loses a few requests in ten terminations, at random: go on
	// until it does.
	naive := new(draintest.Report)
	for range 5 {
		naive.Add(roll(t, draintest.Config{
			Command:      os.Args[:1],
			Env:          []string{sleeperEnv + "=1"},
			Terminations: min(terminations, defaultTerminations),
			Propagation:  propagation,
			Clients:      8,
		}))
		if naive.Lost() > 0 {
			break
		}
	}
	t.Logf("sleep 5 s, then http.Server.Shutdown:\n%s", naive)
	assert.NotZero(t, naive.Lost(), "the baseline loses nothing, so this test tests nothing")
}

// A drained is what a server says of its drain, by the keys of its log line, and as
// "window" how long after T0 its accept window was over.
type drained map[string]string

// drains returns what the servers of a roll have said, which leave one after the other.
func drains(output string) (all []drained) {
	window := ""
	for line := range strings.Lines(output) {
		d := drained{"line": line, "window": window}
		for field := range strings.FieldsSeq(line) {
			if key, value, ok := strings.Cut(field, "="); ok {
				d[key] = value
			}
		}
		switch d["instant"] {
		case "AcceptWindowClosed":
			window = d["after"]
		case "Drained":
			all = append(all, d)
		}
	}
	return all
}

// leavesByItself checks that the accept window has lasted until the floor and ended
// because it was quiet, and that nothing was given up or cut because its time was
// over. How long it has all taken is for the tests of drain, which have a clock of
// their own: here the clients are late when the machine is busy, and are waited for.
func (d drained) leavesByItself(t *testing.T, floor time.Duration) {
	t.Helper()
	took, err := time.ParseDuration(d["window"])
	require.NoError(t, err, d["line"])
	assert.GreaterOrEqual(t, took, floor, d["line"])
	assert.Equal(t, "true", d["report.quiet"], d["line"])
	for _, bound := range []string{"silent", "unfinished", "cancelled", "cut"} {
		assert.Equal(t, "0", d["report."+bound], d["line"])
	}
}

func roll(t *testing.T, c draintest.Config) *draintest.Report {
	t.Helper()
	report, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, report.Exits, c.Terminations)
	return report
}

func median(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}
