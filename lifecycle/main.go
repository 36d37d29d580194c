// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
				p.lastWords("second signal, leaving at once", "signal", s.String(), "pending", p.pending())
				return signalCode(s)
			}
			cancel(fmt.Errorf("signal: %v", s))
		case err := <-done:
			return ExitCode(err)
		case <-p.overdue:
			p.lastWords("the grace period is all but over, leaving", "pending", p.pending())
			return ExitCode(ErrDeadline)
		}
	}
}

// lastWords logs before an exit that nothing may delay, a log that blocks
// included.
func (p *process) lastWords(msg string, args ...any) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		p.log.Error(msg, args...)
	}()
	select {
	case <-said:
	case <-time.After(50 * time.Millisecond):
	}
}

// signalCode is the status of a process that a signal has ended.
func signalCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}
