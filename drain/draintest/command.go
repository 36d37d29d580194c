// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	readyTimeout = 30 * time.Second
	readyPoll    = 10 * time.Millisecond
	keptOutput   = 4 << 10
	// pipeWait is for how long a process that a command has left behind may hold
	// its output open. Without it Wait would not return before that one ends.
	pipeWait = time.Second

	firstPort = 20000
	portCount = 12000
)

var (
	portOffset = rand.N(portCount) // random, because other processes may roll servers too
	portsTried atomic.Int64
)

// A command is a server in a process of its own.
type command struct {
	cmd    *exec.Cmd
	addr   string
	ready  string // the URL of its readiness probe
	output *tail
	done   chan struct{}
	result error
}

// startCommand runs the command and waits until it is ready. On an error the
// command may be running; the caller kills what it is given.
func startCommand(ctx context.Context, c Config, output io.Writer) (instance, error) {
	port, probePort, err := freePorts()
	if err != nil {
		return nil, err
	}
	p := &command{
		cmd:    exec.Command(c.Command[0], c.Command[1:]...),
		addr:   "127.0.0.1:" + port,
		ready:  "http://127.0.0.1:" + probePort + c.Ready,
		output: &tail{w: output},
		done:   make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), "PORT="+port, "PROBE_PORT="+probePort)
	p.cmd.Env = append(p.cmd.Env, c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = pipeWait
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("draintest: %w", err)
	}
	go func() {
		defer close(p.done)
		if p.result = p.cmd.Wait(); errors.Is(p.result, exec.ErrWaitDelay) {
			p.result = nil // it has left well, only not its children
		}
		killGroup(p.cmd.Process.Pid) // what it has left behind
	}()
	return p, p.waitReady(ctx)
}

// waitReady asks the readiness probe until it answers 2xx and somebody listens for
// the clients, each time on new connections, as the kubelet does. A process in another
// address space leaves no other way than asking.
func (p *command) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	last := errors.New("no answer yet")
	for {
		err := p.ask(ctx, client)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("draintest: the command ended before it was ready: %v\n%s", p.cmd.ProcessState, p.output)
		case <-ctx.Done():
			return fmt.Errorf("draintest: the command is not ready: %w (%w; its $PORT is %s, its $PROBE_PORT %s)\n%s",
				ctx.Err(), last, p.env("PORT"), p.env("PROBE_PORT"), p.output)
		}
	}
}

// ask returns an error that names the address that was tried.
func (p *command) ask(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("GET %s: %s", p.ready, resp.Status)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return fmt.Errorf("GET %s: %s, but %w", p.ready, resp.Status, err)
	}
	return conn.Close()
}

// env returns what the command has been given, of which Config.Env has the last word.
func (p *command) env(name string) (value string) {
	for _, v := range p.cmd.Env {
		if text, ok := strings.CutPrefix(v, name+"="); ok {
			value = text
		}
	}
	return value
}

func (p *command) address() string       { return p.addr }
func (p *command) gone() <-chan struct{} { return p.done }
func (p *command) said() string          { return "\n" + p.output.String() }

// kill ends the command and its group. Once Wait has the command, its pid may be
// another's: the group is then for the goroutine that waits.
func (p *command) kill() {
	if p.cmd.Process.Kill() == nil {
		killGroup(p.cmd.Process.Pid)
	}
}

// terminate tells the command alone, as a container runtime does.
func (p *command) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("draintest: the command was gone before it was told to leave: %w\n%s", err, p.output)
	}
	return nil
}

func (p *command) err() error {
	if p.result == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", p.result, p.output)
}

// freePorts returns two ports of the loopback interface. They are outside the
// range from which Linux takes those of outgoing connections, so that no client
// has taken one by the time the command binds it. Nor has another roll of this
// process, nor does a client of one meet a server of another where its own has
// left: a port comes again only when all others have been tried.
func freePorts() (a, b string, err error) {
	for range portCount {
		port := strconv.Itoa(firstPort + (portOffset+int(portsTried.Add(1)))%portCount)
		l, err := net.Listen("tcp", net.JoinHostPort("", port))
		if err != nil {
			continue
		}
		l.Close()
		if a != "" {
			return a, port, nil
		}
		a = port
	}
	return "", "", fmt.Errorf("draintest: no two free ports from %d to %d", firstPort, firstPort+portCount-1)
}

// A locked writer is one that the commands of a roll write to side by side.
type locked struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu; nil discards
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return len(p), nil
	}
	return l.w.Write(p)
}

// A tail passes on what is written and keeps the end of it.
type tail struct {
	w io.Writer

	mu  sync.Mutex
	end []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-keptOutput):]
	t.mu.Unlock()
	return t.w.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
