// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/probes"
)

func TestLoggerThatBlocksHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		stuck := make(chan struct{})
		r.Logger = slog.New(stuckHandler{r.Logger.Handler(), stuck})
		var down atomic.Bool
		r.ready("db", func(context.Context) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		r.run()
		down.Store(true)
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		down.Store(false)
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, 1, goroutines(), "which waits for the Logger")
		close(stuck)
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=0s error=\"connection refused (password=hunter2)\"\n"+
			"level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=0s\n", r.log())
		r.end()
	})

	t.Run("nor Run from ending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			stuck := make(chan struct{})
			r.Logger = slog.New(stuckHandler{r.Logger.Handler(), stuck})
			r.run()
			assert.Equal(t, probes.DefaultTimeout, r.end())
			close(stuck)
		})
	})
}

// A stuckHandler blocks until its channel is closed.
type stuckHandler struct {
	slog.Handler
	until <-chan struct{}
}

func (h stuckHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h stuckHandler) Handle(ctx context.Context, rec slog.Record) error {
	<-h.until
	return h.Handler.Handle(ctx, rec)
}

// A panickingHandler is a Logger's that panics.
type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("odd") }

func TestLoggerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Logger = slog.New(panickingHandler{slog.DiscardHandler})
		heard := 0
		r.OnChange = func(probes.Change) { heard++ }
		r.ready("db", fail)
		r.run()
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		assert.Len(t, r.History(), heard)
		r.end()
	})
}

// An exitingHandler is a Logger's that leaves the goroutine.
type exitingHandler struct {
	slog.Handler
	lines *atomic.Int32
}

func (exitingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h exitingHandler) Handle(context.Context, slog.Record) error {
	h.lines.Add(1)
	runtime.Goexit()
	return nil
}

// A Logger that leaves takes nothing from the listener, nor a listener from the
// Logger.
func TestLoggerAndListenerThatExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var lines, heard atomic.Int32
		r.Logger = slog.New(exitingHandler{slog.DiscardHandler, &lines})
		r.OnChange = func(probes.Change) {
			heard.Add(1)
			runtime.Goexit()
		}
		for range 600 { // of which some are too many
			r.Maintain("", 0)
			r.EndMaintenance()
		}
		r.run()
		assert.EqualValues(t, 1000, heard.Load())
		assert.EqualValues(t, 1001, lines.Load(), "and one that some were not delivered")
		r.Shutdown()
		synctest.Wait()
		assert.EqualValues(t, 1001, heard.Load())
		assert.EqualValues(t, 1002, lines.Load())
		assert.Zero(t, goroutines())
		r.end()
	})
}
