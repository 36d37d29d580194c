// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInterruptIsAFirstSignalToo(t *testing.T) {
	t.Parallel()
	p := run(t, "none")
	p.waitFor("instant=Started")
	code, took := p.exit(p.signal(os.Interrupt))
	assert.Equal(t, 0, code)
	assert.Less(t, took, 10*time.Second)
	assert.Contains(t, p.out.String(), `reason="signal: interrupt"`)
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(tt.signal.String(), func(t *testing.T) {
			t.Parallel()
			p := run(t, "stop hangs", "GRACE_PERIOD=10m")
			p.waitFor("instant=Started")
			p.signal(syscall.SIGTERM)
			p.waitFor("hanging")
			code, took := p.exit(p.signal(tt.signal))
			assert.Equal(t, tt.code, code)
			assert.Less(t, took, time.Second)
			assert.Regexp(t, `pending="[^"]*guilty \(stop\)`, p.out.String())
			assert.Contains(t, p.out.String(), "report=\"signal: terminated: took ")
			p.assertSays(t, stackOfFault)
		})
	}
}

func TestSecondSignalEndsAtOnceDuringStart(t *testing.T) {
	t.Parallel()
	p := run(t, "start hangs", "GRACE_PERIOD=10m")
	p.waitFor("hanging")
	p.signal(syscall.SIGTERM)
	p.waitFor("instant=ShutdownInitiated")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), "guilty (start)")
}

func TestSecondSignalNamesAFlushThatHangs(t *testing.T) {
	t.Parallel()
	p := run(t, "flush hangs", "GRACE_PERIOD=10m", "SHUTDOWN_DELAY=0s")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("hanging")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), `pending="flush (stop)"`)
	p.assertSays(t, stackOfFault)
}

// TestSecondSignalEndsAtOnceWithoutALog: nothing reads the log any more.
func TestSecondSignalEndsAtOnceWithoutALog(t *testing.T) {
	t.Parallel()
	p := run(t, "logger and stop hang", "GRACE_PERIOD=10m")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("stopping")
	code, took := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 143, code)
	assert.Less(t, took, time.Second)
	assert.Contains(t, p.out.String(), "second signal, leaving at once; the Logger has not written this: it has not returned; not stopped: ")
	assert.Contains(t, p.out.String(), "guilty (stop)")
}

// TestSignalAfterShutdownIsTheFirst: it may come from an orchestrator that does not
// know that the process is on its way.
func TestSignalAfterShutdownIsTheFirst(t *testing.T) {
	t.Parallel()
	p := run(t, "shuts itself down")
	p.waitFor("stopping")
	code, _ := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 0, code, p.out.String())
	assert.Contains(t, p.out.String(), "reason=enough")
}

func TestQuitKeepsItsMeaning(t *testing.T) {
	t.Parallel()
	p := run(t, "stop hangs", "GRACE_PERIOD=10m")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	p.waitFor("instant=Drained")
	code, _ := p.exit(p.signal(syscall.SIGQUIT))
	assert.Equal(t, 2, code, "the runtime's")
	assert.Contains(t, p.out.String(), "SIGQUIT: quit")
	assert.Contains(t, p.out.String(), "goroutine 1 ")
}

// TestRunInstallsNoSignalHandler: a program that embeds it has the signals for
// itself, and here their default.
func TestRunInstallsNoSignalHandler(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded")
	p.waitFor("instant=Started")
	p.signal(syscall.SIGTERM)
	for p.lines.Scan() {
	}
	exit, ok := errors.AsType[*exec.ExitError](p.cmd.Wait())
	require.True(t, ok)
	assert.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}
