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
	"sync"
	"syscall"
	"time"
)

// Main runs the App and exits the process, with the status that [ExitCode]
// documents. SIGTERM or an interrupt begins the shutdown, also while components
// are still starting; a second one ends the process at once, after a line that
// names what had not stopped and has its stacks. It is meant to be the last
// statement of main.
//
// Under systemd, which sets NOTIFY_SOCKET for Type=notify, Main sends READY=1 at
// Started, STOPPING=1 at T0, EXTEND_TIMEOUT_USEC until the end, but not beyond the
// grace period, STATUS at each instant, and, if the unit has WatchdogSec, WATCHDOG=1
// twice as often for as long as the liveness probe passes.
func Main(a *App) { os.Exit(a.main()) }

func (a *App) main() int {
	// Two, so that the second is not lost either. This is never undone: a signal
	// that comes at the very end must not change the status of the exit.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	p, err := newProcess(a)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return ExitCode(err)
	}
	return p.main(signals)
}

// main runs the process until it ends, or has to be left.
func (p *process) main(signals <-chan os.Signal) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopNotifying := p.notify()
	defer stopNotifying()
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

// notify begins to tell systemd, if it wants to be told. The function that it
// returns ends that.
func (p *process) notify() (stop func()) {
	n, err := newNotifier(p.live, p.budget.grace-p.budget.preStop)
	if err != nil {
		p.log.Warn("systemd is not told everything", "error", err)
	}
	if n == nil {
		return func() {}
	}
	p.notifier = n
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { n.run(ctx) })
	return func() { cancel(); group.Wait() }
}

const (
	// lastWait is how long an exit waits for its last words to be written.
	lastWait = 50 * time.Millisecond

	// lastStacks is how long it waits for the stacks in them, or an eighth of the
	// reserve if that is less.
	lastStacks = 200 * time.Millisecond

	// maxNamed is of how many components the last words have the stacks.
	maxNamed = 10
)

// leave says what has not stopped, with its stacks, before an exit that nothing may
// delay, a log that blocks included. It returns the status of the exit.
func (p *process) leave(msg string, status int) int {
	r := p.report(status)
	var parts []*part
	parts, r.Pending = p.pending()
	var stacks []string
	profile, deadline := p.profiler.begin(p.phase()), time.Now().Add(min(lastStacks, p.budget.reserve/8))
	for _, part := range parts[:min(len(parts), maxNamed)] {
		text, _ := profile.by(deadline, part.Name, part.functions())
		stacks = append(stacks, text)
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
