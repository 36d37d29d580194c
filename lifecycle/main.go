// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Main runs the App and exits the process, with the status that [ExitCode]
// documents. SIGTERM or an interrupt begins the shutdown, also while components
// are still starting; a second one ends the process at once, after a line that
// names what had not stopped. It is meant to be the last statement of main.
func Main(a *App) { os.Exit(a.main()) }

func (a *App) main() int {
	signals := make(chan os.Signal, 2) // the second must not be lost either
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	p, err := newProcess(a)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return ExitCode(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	for first := true; ; first = false {
		select {
		case s := <-signals:
			if !first {
				return p.leave("second signal, leaving at once", signalCode(s))
			}
			cancel(fmt.Errorf("signal: %v", s))
		case err := <-done:
			return ExitCode(err)
		case <-p.overdue:
			return p.leave("the grace period is all but over, leaving", ExitCode(ErrDeadline))
		}
	}
}

// lastWait is how long an exit waits for its last words to be written.
const lastWait = 50 * time.Millisecond

// leave says what has not stopped, with its stacks, before an exit that nothing may
// delay, a log that blocks included. It returns the status of the exit.
func (p *process) leave(msg string, status int) int {
	r := p.report(status)
	var stacks []string
	for _, part := range p.pending() {
		r.Pending = append(r.Pending, part.Name+" ("+part.doing()+")")
		if s := p.profiler.stacks(part.Name); s != "" {
			stacks = append(stacks, s)
		}
	}
	pending := strings.Join(r.Pending, ", ")
	p.app.setReport(r)
	p.log.Error(msg, "pending", pending, "report", r.String(), "stacks", strings.Join(stacks, "\n\n"))
	p.tell(Event{Instant: "Exited", Took: r.Took, Report: r})
	p.story.courier.close()
	if fault := p.story.courier.wait(time.Now().Add(lastWait)); fault != "" {
		complain(fmt.Sprintf("%s; the Logger has not written this: %s; not stopped: %s", msg, fault, pending))
	}
	return status
}

// complain writes a line to standard error, if that takes it at once.
func complain(text string) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintf(os.Stderr, "%s: %s\n", filepath.Base(os.Args[0]), text)
	}()
	timer := time.NewTimer(lastWait)
	defer timer.Stop()
	select {
	case <-said:
	case <-timer.C:
	}
}

// signalCode is the status of a process that a signal has ended.
func signalCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}
