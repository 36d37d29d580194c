// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package probes_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

const childEnv = "LAMEDUCK_PROBES_CHILD"

// TestStoppedProcess stops a process, as a debugger or the freezing of a container
// does: to it the clock jumps. All results are too old then, and it is to find
// back by itself, without a check that runs twice at once.
func TestStoppedProcess(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStoppedProcess$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	out := bufio.NewReader(stdout)
	addr, err := out.ReadString('\n')
	require.NoError(t, err)
	awaitCode(t, "http://"+strings.TrimSpace(addr)+"/readyz", http.StatusOK)

	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(time.Second) // longer than any result in the child lasts
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	awaitCode(t, "http://"+strings.TrimSpace(addr)+"/readyz", http.StatusOK)
	awaitCode(t, "http://"+strings.TrimSpace(addr)+"/livez", http.StatusOK)

	require.NoError(t, stdin.Close()) // which ends it
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	assert.True(t, strings.HasPrefix(string(rest), "ended: <nil>\n"), "%s", rest)
}

// awaitCode asks until the answer has a code.
func awaitCode(t *testing.T, url string, code int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, err := client.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == code
	}, 10*time.Second, 10*time.Millisecond)
}

// child is the process that is stopped. It ends when its standard input does.
func child() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var r probes.Registry
	var running atomic.Int32
	err = r.AddReadiness(probes.Check{Name: "db", Interval: 20 * time.Millisecond, Timeout: 200 * time.Millisecond, Func: func(context.Context) error {
		defer running.Add(-1)
		if running.Add(1) > 1 {
			panic("runs twice at once")
		}
		time.Sleep(10 * time.Millisecond)
		return nil
	}})
	if err != nil {
		panic(err)
	}
	h, err := r.AddHeartbeat("worker", 200*time.Millisecond)
	if err != nil {
		panic(err)
	}
	r.Started()
	ctx, cancel := context.WithCancel(context.Background())
	ran, beating := make(chan error), make(chan struct{})
	go func() { ran <- r.Run(ctx) }()
	go func() {
		defer close(beating)
		for ctx.Err() == nil {
			h.Beat()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	srv := &http.Server{Handler: r.Handler()}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
	cancel()
	srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
	<-beating
	err = <-ran
	for name, text := range r.Panics() {
		err = errors.Join(err, errors.New(name+": "+text))
	}
	fmt.Println("ended:", err)
}
