// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/lameduck-go/lameduck/internal/netlab"
)

const (
	startMax = 20 * time.Second
	leaveMax = 60 * time.Second // of a replica, which has half of it
)

// A process is a replica, run by this program in a process of its own.
type process struct {
	id, host string
	cmd      *exec.Cmd
	started  chan struct{}
	reached  chan struct{} // closed at its first request
	gone     chan struct{} // closed when it has ended and all that it said was read

	mu     sync.Mutex // guards what follows
	closed time.Time  // when its accept window was closed; zero: it never said
	capped bool       // though new connections came
}

// launch starts a replica on a host, and waits until it says that it has started.
func launch(ctx context.Context, lab *netlab.Lab, host, strategy, id string, b *books) (*process, error) {
	p := &process{
		id: id, host: host,
		cmd:     exec.Command("/proc/self/exe"),
		started: make(chan struct{}),
		reached: make(chan struct{}),
		gone:    make(chan struct{}),
	}
	// What a Deployment sets, and what Kubernetes sets in every container.
	p.cmd.Env = append(os.Environ(), replicaEnv+"="+strategy, idEnv+"="+id,
		"KUBERNETES_SERVICE_HOST="+lab.Addr("node"), "GRACE_PERIOD=30s")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	events, childEvents, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.ExtraFiles = []*os.File{childEvents}
	err = lab.Start(host, p.cmd)
	childEvents.Close()
	if err != nil {
		events.Close()
		return nil, err
	}
	go func() {
		defer close(p.gone)
		defer events.Close()
		var reading sync.WaitGroup
		reading.Go(func() { p.instants(bufio.NewScanner(out)) })
		reading.Go(func() { p.requests(bufio.NewScanner(events), b) })
		reading.Wait()
		p.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	return p, p.await(ctx, p.started, "to start")
}

// await waits for one of the process's events.
func (p *process) await(ctx context.Context, event <-chan struct{}, what string) error {
	select {
	case <-event:
		return nil
	case <-p.gone:
		return fmt.Errorf("%s has ended early: %v", p.id, p.cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s %s: %w", p.id, what, context.Cause(ctx))
	}
}

// instants reads the replica's log.
func (p *process) instants(lines *bufio.Scanner) {
	for lines.Scan() {
		var line struct {
			Instant string
			Time    time.Time
			Report  struct{ Quiet *bool }
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		p.mu.Lock()
		switch line.Instant {
		case "Started":
			close(p.started)
		case "AcceptWindowClosed":
			p.closed = line.Time
		case "Drained":
			p.capped = line.Report.Quiet != nil && !*line.Report.Quiet
		}
		p.mu.Unlock()
	}
}

// requests reads what the replica runs.
func (p *process) requests(lines *bufio.Scanner, b *books) {
	first := true
	for lines.Scan() {
		if first {
			close(p.reached)
			first = false
		}
		b.server(lines.Text())
	}
}

// terminate sends SIGTERM and waits for the end.
func (p *process) terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", p.id, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, leaveMax, errors.New("it does not end"))
	defer cancel()
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", p.id, context.Cause(ctx))
	}
}

// window returns when the accept window was closed, and whether that was by its
// cap, though new connections came.
func (p *process) window() (closed time.Time, capped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed, p.capped
}
