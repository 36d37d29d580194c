// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package stall_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/stall"
)

// watchEnv makes the test binary a process that says how late it was at most, until its
// standard input ends.
const watchEnv = "LAMEDUCK_TEST_STALL"

func TestMain(m *testing.M) {
	if os.Getenv(watchEnv) != "" {
		longest := stall.Watch()
		fmt.Println("watching")
		bufio.NewReader(os.Stdin).ReadByte()
		fmt.Println(longest())
		return
	}
	goleak.VerifyTestMain(m)
}

func TestStopIsSeen(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), watchEnv+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(time.Second) // this is what is tested
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, in.Close())
	require.True(t, lines.Scan())
	longest, err := time.ParseDuration(lines.Text())
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	assert.Greater(t, longest, 900*time.Millisecond)
}

func TestProcessThatRunsIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		longest := stall.Watch()
		time.Sleep(time.Minute)
		assert.Zero(t, longest())
	})
}
