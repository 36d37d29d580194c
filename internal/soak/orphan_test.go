// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// orphanEnv makes the test binary the parent of a replica, on this port.
const orphanEnv = "LAMEDUCK_TEST_SOAK_ORPHAN"

// parentOfAReplica starts a replica, says so, and stays until its standard input ends.
func parentOfAReplica() (status int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"=", replicaEnv+"="+os.DevNull, restEnv+"=0s",
		parentEnv+"="+strconv.Itoa(os.Getpid()), "PORT="+os.Getenv(orphanEnv), "PROBE_PORT=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	io.Copy(io.Discard, os.Stdin)
	cmd.Process.Kill()
	return 0
}

// A replica leaves when the program that has started it is killed, at once or when it
// serves. Its end is that of the pipe that it has inherited.
func TestReplicaLeavesWithItsParent(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process keeps the number of its parent there")
	}
	for _, serves := range []bool{false, true} {
		t.Run(fmt.Sprint("it serves: ", serves), func(t *testing.T) {
			addr := proc.FreeAddr(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), orphanEnv+"="+proc.Port(addr))
			_, err := cmd.StdinPipe()
			require.NoError(t, err)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			cmd.Stdout, cmd.Stderr = w, w
			require.NoError(t, cmd.Start())
			w.Close()
			out := bufio.NewReader(r)
			line, err := out.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "started\n", line)
			require.Eventually(t, func() bool {
				nc, err := net.Dial("tcp", addr)
				if err == nil {
					nc.Close()
				}
				return err == nil || !serves
			}, time.Minute, 10*time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			rest, err := io.ReadAll(out) // until the replica has ended, too
			require.NoError(t, err)
			assert.Empty(t, string(rest))
			cmd.Wait()
		})
	}
}
