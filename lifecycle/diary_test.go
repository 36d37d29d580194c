// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A diary notes what components do, and when.
type diary struct {
	t0 time.Time
	mu sync.Mutex
	b  []string
}

func newDiary() *diary { return &diary{t0: time.Now()} }

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.b = append(d.b, fmt.Sprintf("%v ", time.Since(d.t0))+fmt.Sprintf(format, args...))
}

func (d *diary) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.b...)
}

// component returns one that takes a second to start and two to stop, and notes
// when it has.
func (d *diary) component(name string, dependsOn ...string) lifecycle.Component {
	return lifecycle.Component{
		Name:      name,
		DependsOn: dependsOn,
		Start: func(context.Context) error {
			time.Sleep(time.Second)
			d.note("%s started", name)
			return nil
		},
		Stop: func(context.Context) error {
			time.Sleep(2 * time.Second)
			d.note("%s stopped", name)
			return nil
		},
	}
}

// app returns an App of the components that logs into the buffer.
func app(components ...lifecycle.Component) (*lifecycle.App, *logged) {
	var log logged
	return &lifecycle.App{
		Components: components,
		Logger:     slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

// runFor runs the App and ends its context after d.
func runFor(t *testing.T, a *lifecycle.App, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errors.New("signal: test"))
	defer cancel()
	return a.Run(ctx)
}

// A logged is what an App has logged. Its Logger may still write when Run has returned, if
// that is at the deadline.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
