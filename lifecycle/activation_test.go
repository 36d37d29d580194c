// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func init() {
	programs["forks"] = forks
	programs["quick"] = func() { lifecycle.Main(new(lifecycle.App)) }
}

// forks serves on a socket of systemd's, and leaves a process behind.
func forks() {
	if os.Getenv("CHILD") != "" {
		fmt.Println("child runs")
		io.Copy(io.Discard, os.Stdin) // until the test lets go
		os.Exit(0)
	}
	web := lifecycle.HTTP("web", &http.Server{Handler: http.NotFoundHandler()})
	web.Listen = lifecycle.Activated("web")
	lifecycle.Main(&lifecycle.App{Components: []lifecycle.Component{web, {Name: "child", DependsOn: []string{"web"}, Start: func(context.Context) error {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CHILD=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Start()
	}}}})
}

// TestSystemdThatDoesNotReadHoldsNothingUp: its queue is full, and a datagram waits.
func TestSystemdThatDoesNotReadHoldsNothingUp(t *testing.T) {
	t.Parallel()
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	for { // what others have sent
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.path, Net: "unixgram"})
		require.NoError(t, err)
		c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, err = c.Write(make([]byte, 1024))
		c.Close()
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	p := launch(t, "slow to stop", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=1000")
	p.Await("instant=Started", patience)
	require.NoError(t, p.Signal(syscall.SIGTERM))
	p.Await("stopping", patience)
	status, _ := p.End(syscall.SIGTERM, patience/2)
	assert.Equal(t, 143, status)

	p = launch(t, "quick", "NOTIFY_SOCKET="+m.path, "GRACE_PERIOD=8s")
	p.Await("instant=Started", patience)
	status, _ = p.End(syscall.SIGTERM, patience) // and not 4, for what is not done by its deadline
	assert.Equal(t, 0, status, p.Output())
}

// TestActivatedSocketsAreNotInherited: when systemd and the process have closed them,
// they are closed, whatever processes that one has started, and whichever it has taken.
func TestActivatedSocketsAreNotInherited(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close() // then the child ends
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(proc.Environ(), programEnv+"=forks", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:other")
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		socket, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		defer socket.Close()
		addrs = append(addrs, l.Addr().String())
		l.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, socket)
	}
	cmd.Stdin = r
	p, err := proc.Start(t, cmd)
	require.NoError(t, err)
	p.Await("instant=Started", patience)
	p.Await("child runs", patience)
	for _, socket := range cmd.ExtraFiles {
		socket.Close() // as systemd's
	}
	status, _ := p.End(syscall.SIGTERM, patience)
	assert.Equal(t, 0, status, p.Output())
	for _, addr := range addrs {
		_, err = net.Dial("tcp", addr)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}
