// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package examples_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
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

	ours := roll(t, draintest.Config{
		Command:      []string{filepath.Join(bin, "chi")},
		Env:          []string{"PRE_STOP_DELAY=" + floor.String(), "GRACE_PERIOD=30s"},
		Terminations: terminations,
		Propagation:  propagation,
		Clients:      8,
	})
	t.Logf("examples/chi, floor %v, propagation up to %v:\n%s", floor, propagation, ours)
	assert.Zero(t, ours.Lost())
	_, worst := ours.Exit()
	assert.LessOrEqual(t, worst, max(floor, propagation)+drain.DefaultQuiet+500*time.Millisecond)

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
