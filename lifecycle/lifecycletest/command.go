// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycletest

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

// A Process is a program that runs in a process of its own.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when it has ended
	t0   time.Time     // of the first signal
}

// An Exit says how a process has ended.
type Exit struct {
	Status   int           // -1 if a signal has ended it
	Took     time.Duration // since the first signal, or since Wait was called
	Output   string        // standard output and standard error
	Instants []string      // the named instants in the output, if log/slog wrote them as text or JSON
}

// Command starts a program. It is killed when the test ends, if it is still there.
// Its environment is that of the test and what env has, as "KEY=value".
func Command(t testing.TB, cmd *exec.Cmd, env ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd, done: make(chan struct{})}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if err := cmd.Start(); err != nil {
		t.Fatalf("lifecycletest: %v", err)
	}
	go func() {
		defer close(p.done)
		cmd.Wait() // Exit has its status
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.done
	})
	return p
}

// Ready returns when a GET of the URL, that of the readiness probe for example, is
// answered 200. The test fails if it is not within the time given, or if the process
// ends before.
func (p *Process) Ready(url string, within time.Duration) {
	p.t.Helper()
	client := &http.Client{Timeout: within, Transport: &http.Transport{DisableKeepAlives: true}}
	end := time.Now().Add(within)
	for {
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.done:
			p.t.Fatalf("lifecycletest: the process has ended before it was ready:\n%s", p.out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			p.t.Fatalf("lifecycletest: not ready within %v:\n%s", within, p.out.String())
		}
	}
}

// Signal sends a signal. One that finds the process gone is not an error.
func (p *Process) Signal(s os.Signal) {
	if p.t0.IsZero() {
		p.t0 = time.Now()
	}
	p.cmd.Process.Signal(s)
}

// Wait returns when the process has ended. When the grace period is over, counted from
// the first signal, it sends SIGKILL and the test fails.
func (p *Process) Wait(grace time.Duration) Exit {
	p.t.Helper()
	if p.t0.IsZero() {
		p.t0 = time.Now()
	}
	kill := time.AfterFunc(time.Until(p.t0.Add(grace)), func() { p.cmd.Process.Kill() })
	<-p.done
	took := time.Since(p.t0)
	if !kill.Stop() {
		p.t.Errorf("lifecycletest: SIGKILL after %v:\n%s", grace, p.out.String())
	}
	text := p.out.String()
	return Exit{p.cmd.ProcessState.ExitCode(), took, text, instants(text)}
}

var instant = regexp.MustCompile(`\binstant"?[=:]"?(\w+)`)

func instants(text string) []string {
	var names []string
	for _, match := range instant.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

// An output is what a process has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
