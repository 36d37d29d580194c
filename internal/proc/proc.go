// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package proc runs programs in processes of their own, for tests with real signals
// and real sockets.
package proc

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Process is a program that runs. Its methods may be called from any goroutine, but
// those that can fail the test only from that of the test.
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	out output

	exited chan struct{} // closed when the process has ended; publishes left
	left   time.Time
	gone   chan struct{} // closed when its output is complete, too
}

// outputDelay is how long after the end of a process its output may go on: a process
// that it has started, and left behind, may hold the pipe for ever.
const outputDelay = 2 * time.Second

// Start starts a program and takes its output, standard output and standard error. It
// is killed when the test ends, if it is still there.
func Start(t testing.TB, cmd *exec.Cmd) (*Process, error) {
	t.Helper()
	p := &Process{t: t, cmd: cmd, exited: make(chan struct{}), gone: make(chan struct{})}
	p.out.changed = make(chan struct{})
	// A pipe of our own: Wait then returns when the process has ended, and not when
	// all that have inherited the pipe have.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	go p.wait(r)
	t.Cleanup(p.Kill)
	return p, nil
}

// wait waits for the end of the process and of its output.
func (p *Process) wait(r *os.File) {
	defer close(p.gone)
	defer r.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(&p.out, r)
	}()
	p.cmd.Wait()
	p.left = time.Now()
	close(p.exited)
	for range 10 { // so a stop of this process, however long, is a tenth of it
		select {
		case <-copied:
			return
		case <-time.After(outputDelay / 10):
		}
	}
	if r.SetReadDeadline(time.Now()) != nil { // not on every system
		r.Close()
	}
	<-copied
}

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait returns when the process has ended, and its output with it, or two seconds after
// its end at the latest. The status is -1 if a signal has ended it.
func (p *Process) Wait() (status int, left time.Time) {
	<-p.gone
	return p.cmd.ProcessState.ExitCode(), p.left
}

// Signal sends a signal, and reports an error if the process has ended.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process by force, unless it has ended, and waits for its end.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.gone
}

// End sends a signal and returns the exit status, and how long the process has taken to
// leave. One that has not left within the time given is killed, as at the end of its
// grace period; its status is -1.
func (p *Process) End(s os.Signal, within time.Duration) (status int, took time.Duration) {
	p.t.Helper()
	t0 := time.Now()
	if err := p.Signal(s); err != nil {
		p.t.Fatalf("%v:\n%s", err, p.Output())
	}
	kill := time.AfterFunc(within, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	status, left := p.Wait()
	return status, left.Sub(t0)
}

// Await returns when the output contains text. The test fails if it does not within the
// time given, or if the process ends without it.
func (p *Process) Await(text string, within time.Duration) {
	p.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		out, changed := p.out.now()
		if strings.Contains(out, text) {
			return
		}
		select {
		case <-changed:
		case <-p.gone:
			if out := p.Output(); !strings.Contains(out, text) {
				p.t.Fatalf("the process has ended, status %d, without saying %q:\n%s", p.cmd.ProcessState.ExitCode(), text, out)
			}
		case <-timer.C:
			p.t.Fatalf("the process has not said %q within %v:\n%s", text, within, out)
		}
	}
}

// Output returns what the process has written so far.
func (p *Process) Output() string {
	out, _ := p.out.now()
	return out
}

// Line returns the first line of the output that contains text, or "".
func (p *Process) Line(text string) string {
	for line := range strings.Lines(p.Output()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// An output is what a process has written so far.
type output struct {
	mu      sync.Mutex // guards what follows
	b       bytes.Buffer
	changed chan struct{} // closed by the next Write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.b.Write(b)
}

// now returns the output so far, and a channel that is closed when there is more.
func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String(), o.changed
}
