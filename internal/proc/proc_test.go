// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package proc_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// programEnv makes the test binary a program.
const programEnv = "LAMEDUCK_TEST_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(programEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "says and leaves":
		fmt.Print("one\ntwo\n")
		fmt.Fprintln(os.Stderr, "three")
		os.Exit(7)
	case "ignores signals":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ignoring")
		select {}
	case "leaves somebody behind":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), programEnv+"=holds the output")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println("leaving")
	case "holds the output":
		io.Copy(io.Discard, os.Stdin) // until the test lets go
	case "server":
		mux := http.NewServeMux()
		mux.HandleFunc("/own", func(http.ResponseWriter, *http.Request) {})
		go http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), http.NotFoundHandler())
		fmt.Println("instant=Started", os.Getenv("GRACE_PERIOD"))
		panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
	}
}

func program(t testing.TB, kind string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), programEnv+"="+kind)
	return cmd
}

func start(t testing.TB, kind string) *proc.Process {
	t.Helper()
	p, err := proc.Start(t, program(t, kind))
	require.NoError(t, err)
	return p
}

func TestOutputIsWhole(t *testing.T) {
	p := start(t, "says and leaves")
	p.Await("three", time.Minute)
	status, _ := p.Wait()
	assert.Equal(t, 7, status)
	assert.Equal(t, "one\ntwo\nthree\n", p.Output())
	assert.Equal(t, "two\n", p.Line("w"))
	assert.Empty(t, p.Line("four"))
}

func TestProcessThatIgnoresItsSignalIsKilled(t *testing.T) {
	p := start(t, "ignores signals")
	p.Await("ignoring", time.Minute)
	status, took := p.End(syscall.SIGTERM, 100*time.Millisecond)
	assert.Equal(t, -1, status)
	assert.GreaterOrEqual(t, took, 100*time.Millisecond)
}

// TestOutputThatIsHeldOpenIsNotWaitedFor: by a process that outlives its parent.
func TestOutputThatIsHeldOpenIsNotWaitedFor(t *testing.T) {
	cmd := program(t, "leaves somebody behind")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close() // then it ends
	cmd.Stdin = r
	p, err := proc.Start(t, cmd)
	require.NoError(t, err)
	select {
	case <-p.Exited():
	case <-time.After(time.Minute):
		require.Fail(t, "it counts as running")
	}
	waited := make(chan int, 1)
	go func() { status, _ := p.Wait(); waited <- status }()
	select {
	case status := <-waited:
		assert.Equal(t, 0, status)
	case <-time.After(time.Minute):
		assert.Fail(t, "its output is waited for")
	}
	assert.Equal(t, "leaving\n", p.Output())
}

func TestProgramThatIsNotThereIsAnError(t *testing.T) {
	_, err := proc.Start(t, exec.Command("/no/such/program"))
	assert.ErrorContains(t, err, "/no/such/program")
}

// A fake is a test that may fail without failing this one.
type fake struct {
	testing.TB
	said string
}

func (f *fake) Helper() {}
func (f *fake) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns what a test says that fails.
func failure(t *testing.T, test func(t testing.TB)) string {
	f := &fake{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	return f.said
}

func TestFailuresSayWhatTheProcessSaid(t *testing.T) {
	said := failure(t, func(t testing.TB) { start(t, "says and leaves").Await("four", time.Minute) })
	assert.Equal(t, "the process has ended, status 7, without saying \"four\":\none\ntwo\nthree\n", said)
	said = failure(t, func(t testing.TB) {
		p := start(t, "ignores signals")
		p.Await("ignoring", time.Minute)
		p.Await("four", time.Millisecond)
	})
	assert.Equal(t, "the process has not said \"four\" within 1ms:\nignoring\n", said)
	said = failure(t, func(t testing.TB) {
		p := start(t, "says and leaves")
		p.Wait()
		p.End(syscall.SIGTERM, time.Minute)
	})
	assert.True(t, strings.HasSuffix(said, ":\none\ntwo\nthree\n"), said)
}

func TestServer(t *testing.T) {
	t.Setenv("GRACE_PERIOD", "1h") // the user's
	t.Setenv(programEnv, "server")
	s := proc.Serve(t, os.Args[0])
	assert.Equal(t, "instant=Started \n", s.Line("instant"))
	assert.NotEqual(t, s.Addr, s.Probe)
	require.Eventually(t, func() bool { return s.Get(s.Addr, "/own") == 200 && s.Get(s.Probe, "/own") == 404 }, time.Minute, time.Millisecond)
	s.Kill()
	assert.Zero(t, s.Get(s.Addr, "/own"))

	s = proc.Serve(t, os.Args[0], "PROBE_PORT=PORT", "GRACE_PERIOD=2s")
	assert.Equal(t, "instant=Started 2s\n", s.Line("instant"))
	assert.Equal(t, s.Addr, s.Probe)
}
