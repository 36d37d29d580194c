// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heptiolabs/healthcheck"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/heptio"
)

// runs returns how many goroutines run a check of a registry in the bubble: outside of
// it there are those of registries that run for life.
func runs() (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		header, calls, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "synctest bubble") && strings.Contains(calls, "created by github.com/lameduck-go/lameduck/probes.(*Registry).start") {
			n++
		}
	}
	return n
}

// A check of theirs that hangs for ever costs one goroutine after an hour and a
// thousand probes, fails in its timeout, and holds up neither what is asked nor what
// is added: with their Handler it took /live along.
func TestTheirCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		var calls atomic.Int32
		hangs := func() error { calls.Add(1); <-release; return nil }
		r.AddReadinessCheck("db", hangs)
		require.NoError(t, r.registry.AddReadiness(probes.Check{Name: "own", Func: heptio.Check(hangs), Optional: true}))
		synctest.Wait()
		time.Sleep(probes.DefaultTimeout)
		synctest.Wait()
		began := time.Now()
		for range 1000 {
			require.Equal(t, "503 {}\n", get(r, "GET", "/ready"))
			require.Equal(t, "200 {}\n", get(r, "GET", "/live"))
		}
		assert.Zero(t, time.Since(began))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.EqualValues(t, 2, calls.Load())
		assert.Equal(t, 2, runs())

		began = time.Now()
		r.AddLivenessCheck("late", func() error { return nil })
		assert.Zero(t, time.Since(began))
		assert.Equal(t, "200 {\n    \"late\": \"OK\"\n}\n", get(r, "GET", "/live?full=1"))
		assert.Equal(t, "503 {\n    \"db\": \"timed out after 1s\",\n    \"late\": \"OK\"\n}\n", get(r, "GET", "/ready?full=1"))
		r.registry.Shutdown()
		assert.Less(t, time.Since(began), 500*time.Millisecond)
		began = time.Now()
		r.stop()
		assert.Zero(t, time.Since(began))
		close(release)
	})
}

// Whatever a check of theirs does to its goroutine is a failure of that check, in a
// registry and in the Handler on it, and is over when it stops.
func TestTheirCheckThatBreaks(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func() error
		says   string // Panics of it
	}{
		"panics":           {func() error { panic("bug") }, "panic: bug"},
		"exits":            {func() error { runtime.Goexit(); return nil }, "runtime.Goexit called"},
		"has a bad error":  {func() error { return new(badError) }, "panic: no text"},
		"dereferences nil": {func() error { var p *int; return fmt.Errorf("%d", *p) }, "panic: runtime error: invalid memory address or nil pointer dereference"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var well atomic.Bool
				check := func() error {
					if well.Load() {
						return nil
					}
					return tt.breaks()
				}
				r.AddReadinessCheck("theirs", check)
				r.AddLivenessCheck("live", check)
				require.NoError(t, r.registry.AddReadiness(probes.Check{Name: "ours", Func: heptio.Check(check)}))
				synctest.Wait()
				assert.Equal(t, "503 {}\n", get(r, "GET", "/ready"))
				assert.Equal(t, "503 {}\n", get(r, "GET", "/live"))
				assert.Equal(t, map[string]string{"theirs": tt.says, "live": tt.says, "ours": tt.says}, r.registry.Panics())
				well.Store(true)
				time.Sleep(probes.DefaultInterval)
				synctest.Wait()
				assert.Equal(t, "200 {\n    \"live\": \"OK\",\n    \"theirs\": \"OK\"\n}\n", get(r, "GET", "/ready?full=1"))
				r.stop()
			})
		})
	}
}

type badError struct{}

func (*badError) Error() string { panic("no text") }

// What theirs made around a check works as a check here: Timeout and Async. Theirs
// leave a goroutine behind for each timeout; here that is one.
func TestTheirWrappersRunHere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	r.Started()
	asked := make(chan struct{}, 1)
	async := healthcheck.AsyncWithContext(ctx, func() error {
		select {
		case asked <- struct{}{}:
		default:
		}
		return nil
	}, time.Hour)
	<-asked
	require.NoError(t, r.AddReadiness(
		probes.Check{Name: "async", Func: heptio.Check(async), Interval: time.Millisecond, Timeout: time.Minute},
		probes.Check{Name: "timeout", Func: heptio.Check(healthcheck.Timeout(func() error { return errors.New("down") }, time.Minute)), Optional: true, Timeout: time.Minute},
	))
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	for s := range r.Watch(ctx) {
		if s.Reason == "ok, degraded: timeout" {
			cancel()
		}
	}
	require.NoError(t, <-ran)
}
