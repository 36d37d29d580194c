// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A progress shows how far a rollout has come: one live line on a terminal, a
// plain line for each replica elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// line prints a line in place of the live one.
func (p *progress) line(format string, args ...any) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

// follow shows the state of r until the returned function is called.
func (p *progress) follow(r *rollout, replicas int) (stop func()) {
	begin := time.Now()
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		said := -1
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			sent, lost, replaced := r.counts()
			text := fmt.Sprintf("%-9s %d/%d replaced  %6d sent  %4d lost  %4.1f s",
				r.Strategy, replaced, replicas, sent, lost, time.Since(begin).Seconds())
			switch {
			case p.terminal:
				fmt.Fprint(p.out, "\r\x1b[K", text)
			case replaced != said:
				fmt.Fprintln(p.out, text)
				said = replaced
			}
		}
	})
	return func() {
		close(done)
		group.Wait()
	}
}
