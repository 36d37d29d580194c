// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycletest

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// A Process is a program that runs in a process of its own.
type Process struct {
	t    testing.TB
	proc *proc.Process
	t0   time.Time // of the first signal
}

// An Exit says how a process has ended.
type Exit struct {
	Status   int           // -1 if a signal has ended it
	Took     time.Duration // since the first signal, or since Wait was called
	Output   string        // standard output and standard error
	Instants []string      // the named instants in the output, if log/slog wrote them as text or JSON
}

// StartProcess starts a program. It is killed when the test ends, if it is still there.
// Its environment is that of the test and what env has, as "KEY=value". What it leaves
// running, and holds its output open, is not waited for longer than a second.
func StartProcess(t testing.TB, cmd *exec.Cmd, env ...string) *Process {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, env...)
	p, err := proc.Start(t, cmd)
	if err != nil {
		t.Fatalf("lifecycletest: %v", err)
	}
	return &Process{t: t, proc: p}
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
		case <-p.proc.Exited():
			p.proc.Wait() // for the rest of its output
			p.t.Fatalf("lifecycletest: the process has ended before it was ready:\n%s", p.proc.Output())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			p.t.Fatalf("lifecycletest: not ready within %v:\n%s", within, p.proc.Output())
		}
	}
}

// Signal sends a signal. One that finds the process gone is not an error.
func (p *Process) Signal(s os.Signal) {
	if p.t0.IsZero() {
		p.t0 = time.Now()
	}
	p.proc.Signal(s)
}

// Wait returns when the process has ended. When the grace period is over, counted from
// the first signal, it sends SIGKILL and the test fails.
func (p *Process) Wait(grace time.Duration) Exit {
	p.t.Helper()
	if p.t0.IsZero() {
		p.t0 = time.Now()
	}
	timer := time.NewTimer(time.Until(p.t0.Add(grace)))
	defer timer.Stop()
	select {
	case <-p.proc.Exited():
	case <-timer.C:
		p.proc.Kill()
		p.t.Errorf("lifecycletest: SIGKILL after %v:\n%s", grace, p.proc.Output())
	}
	status, left := p.proc.Wait()
	text := p.proc.Output()
	return Exit{status, left.Sub(p.t0), text, instants(text)}
}

var instant = regexp.MustCompile(`\binstant"?[=:]"?(\w+)`)

func instants(text string) []string {
	var names []string
	for _, match := range instant.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}
