// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// waitEnv makes the test binary a process that ends when it has stood still that often, for
// stopped at least.
const (
	waitEnv = "LAMEDUCK_TEST_STOPS"
	stopped = 300 * time.Millisecond
)

func TestMain(m *testing.M) {
	if s := os.Getenv(waitEnv); s != "" {
		var left int
		fmt.Sscan(s, &left)
		for t0 := time.Now(); left > 0; t0 = time.Now() {
			time.Sleep(time.Millisecond)
			if time.Since(t0) >= stopped {
				left--
			}
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// waiting is a command that ends when it has been stopped n times.
func waiting(n int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprint(waitEnv, "=", n))
	return cmd
}

// needGroups skips a test where there are no control groups to be had.
func needGroups(t *testing.T) {
	g, err := newGroup()
	if err != nil {
		t.Skip(err)
	}
	require.NoError(t, g.close())
}

func TestIsStopped(t *testing.T) {
	needGroups(t)
	stops, err := run(t.Context(), waiting(3), 10*time.Millisecond, stopped)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, stops, 3)
}

// What a command leaves behind would go on for ever, or stay stopped.
func TestNothingIsLeftRunning(t *testing.T) {
	needGroups(t)
	var pid int
	output := new(bytes.Buffer)
	cmd := exec.Command("/bin/sh", "-c", "sleep 60 >/dev/null & echo $!; exit 3")
	cmd.Stdout = output
	_, err := run(t.Context(), cmd, time.Millisecond, time.Millisecond)
	assert.EqualError(t, err, "exit status 3")
	_, err = fmt.Fscan(output, &pid)
	require.NoError(t, err)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	assert.True(t, err != nil || strings.Contains(string(stat), ") Z "), "%s", stat)
}

func TestInterruptEndsWhatIsStopped(t *testing.T) {
	needGroups(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := run(ctx, waiting(1), time.Millisecond, time.Hour)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-run=0s"}, {"-stop=-1s"}, {"-p=0"}, {"-count=0"}, {"-run=x"}} {
		_, err := parse(args, io.Discard)
		assert.ErrorIs(t, err, errUsage, "%q", args)
	}
	c, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []string{"./..."}, c.packages)
	err = slow(t.Context(), config{parallel: 1, packages: []string{"unsafe"}}, new(bytes.Buffer))
	assert.ErrorContains(t, err, "no tests in unsafe")
}
