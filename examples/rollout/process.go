// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A process is a replica, run by this program in a process of its own.
type process struct {
	endpoint
	cmd     *exec.Cmd
	stdin   io.Closer // its end is the replica's: it must not outlive this program
	origin  time.Time // of the marks' times
	started chan struct{}
	gone    chan struct{} // closed when the process is gone

	mu    sync.Mutex
	marks []mark // guarded by mu
}

// launch starts a replica and waits until it says that it has started.
func launch(ctx context.Context, c config, strategy, id string, origin time.Time) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{
		endpoint: endpoint{id: id, addr: "127.0.0.1:" + port},
		cmd:      exec.Command(self),
		origin:   origin,
		started:  make(chan struct{}),
		gone:     make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(),
		strategyEnv+"="+strategy, idEnv+"="+id, sleepEnv+"="+c.sleep.String(),
		"PORT="+port, "SHUTDOWN_DELAY="+c.floor.String(), "GRACE_PERIOD=30s")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	p.mark("Launched", time.Now())
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch(bufio.NewScanner(out))
	select {
	case <-p.started:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("%s: %v before it had started", id, p.cmd.ProcessState)
	case <-ctx.Done():
		p.kill()
		return nil, ctx.Err()
	}
}

// watch reads the replica's instants until it is gone.
func (p *process) watch(lines *bufio.Scanner) {
	defer close(p.gone)
	for lines.Scan() {
		instant, at, ok := parseMark(lines.Bytes())
		if !ok {
			continue
		}
		p.mark(instant, at)
		if instant == "Started" {
			close(p.started)
		}
	}
	p.cmd.Wait()
	p.mark("Gone", time.Now())
}

func (p *process) mark(instant string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, mark{instant, at.Sub(p.origin)})
}

// terminate sends SIGTERM and returns how long the replica then took to leave.
func (p *process) terminate(ctx context.Context) (time.Duration, error) {
	t0 := time.Now()
	p.mark("SIGTERM", t0)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("%s: %w", p.id, err)
	}
	select {
	case <-p.gone:
		return time.Since(t0), nil
	case <-time.After(90 * time.Second):
		return 0, fmt.Errorf("%s does not end", p.id)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// kill ends the replica by force, if it still runs, and waits for its end.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-p.gone
}

// freePort returns a port of the loopback interface that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
