// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"errors"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHangUpIsNotTaken: it ends a program that has no use for it, and reloads one that
// has.
func TestHangUpIsNotTaken(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("nohup: it is ignored in what this starts, too")
	}
	t.Run("by default", func(t *testing.T) {
		t.Parallel()
		p := run(t, "none")
		p.waitFor("instant=Started")
		p.signal(syscall.SIGHUP)
		for p.lines.Scan() {
			assert.NotContains(t, p.lines.Text(), "instant=ShutdownInitiated")
		}
		exit, ok := errors.AsType[*exec.ExitError](p.cmd.Wait())
		require.True(t, ok)
		assert.Equal(t, syscall.SIGHUP, exit.Sys().(syscall.WaitStatus).Signal())
	})
	t.Run("with a handler", func(t *testing.T) {
		t.Parallel()
		p := run(t, "reloads", "SHUTDOWN_DELAY=0s")
		p.waitFor("instant=Started")
		p.signal(syscall.SIGHUP)
		p.waitFor("reloaded")
		code, _ := p.exit(p.signal(syscall.SIGTERM))
		assert.Equal(t, 0, code)
	})
}
