// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package draintest rolls a server under clients that never retry, and counts
// what was lost.
//
// # What counts as lost
//
// [Roll] starts a server and load, then again and again starts the next server
// and terminates the old one. Each client learns of the removal after a delay of
// its own, as behind kube-proxy: its new connections then go to the next server,
// while the connection that it has stays where it is. What counts as lost:
//
//   - a dial that is refused or reset;
//   - anything after the first byte of a request was written that is not a
//     complete 2xx.
//
// A connection found closed, or told to go by a GOAWAY, before a request is
// written is not a loss. A request that was written when the GOAWAY came is one
// unless it is answered, although a client may send it again (RFC 9113, section
// 8.7): not every one does.
//
// # What a zero is worth
//
// A zero is worth something beside a number that is not: roll the same server
// with a plain [http.Server.Shutdown] too. No loss in n requests means a rate
// below 3/n, at 95 % confidence.
package draintest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Defaults for the fields of [Config].
const (
	DefaultPropagation = 2 * time.Second
	DefaultSettle      = 1 * time.Second
	DefaultClients     = 2
	DefaultExitTimeout = 35 * time.Second
)

// A Config says what to roll, and how. Exactly one of Command and Serve is set.
type Config struct {
	// Command is a program and its arguments. It listens on 127.0.0.1:$PORT or
	// on all interfaces, and is ready when it does and GET Ready on $PROBE_PORT answers
	// 2xx. It is terminated by SIGTERM. It should be the server itself: a wrapper that
	// does not pass SIGTERM on, such as "go run" or a shell, leaves alone, and
	// then the server is killed. On Unix the command has a process group of its
	// own, which is killed at the command's end, and which the Ctrl-C of a
	// terminal does not reach.
	Command []string

	// Env is added to the command's environment, which is that of this process.
	Env []string

	// Output receives what the commands print, one write at a time. Nil discards
	// it; the last part of it is in the error when a command fails.
	Output io.Writer

	// Serve serves l in this process until ctx is done, which stands for SIGTERM,
	// and returns when it is off the air. Its error ends the roll. When it
	// returns, l and the connections that l has accepted are closed, as the end of
	// a process would close them. Several calls run side by side.
	Serve func(ctx context.Context, l net.Listener) error

	Path  string // of the requests; empty: "/work"
	Ready string // of the command's readiness probe; empty: "/readyz"

	// Terminations is how many servers are terminated, one after the other. Zero
	// means one; negative is an error.
	Terminations int

	// Propagation is the longest time until a client learns of a removal; each
	// draws its own, for each removal, from zero to it. Zero means
	// DefaultPropagation; negative means none.
	Propagation time.Duration

	// Kinds are the kinds of clients. Empty means six that differ in how they
	// lose requests: five keep their connections, with think times from none to
	// 2 s, and one needs a new connection for each request.
	Kinds []Kind

	// Clients is how many clients there are of each kind that does not say. Zero
	// means DefaultClients; negative is an error.
	Clients int

	// Settle is how long the load runs on both servers before one is terminated.
	// The clients start spread over it, or over their think time if that is
	// shorter. Zero means DefaultSettle; negative means not at all.
	Settle time.Duration

	// ExitTimeout is how long a server may take to leave. Then it is killed, and
	// the roll fails. Zero means DefaultExitTimeout; negative is an error.
	ExitTimeout time.Duration
}

// check returns the Config with its defaults, or says what is wrong with it.
func (c Config) check() (Config, error) {
	c.Path = cmp.Or(c.Path, "/work")
	c.Ready = cmp.Or(c.Ready, "/readyz")
	c.Terminations = cmp.Or(c.Terminations, 1)
	c.Clients = cmp.Or(c.Clients, DefaultClients)
	c.ExitTimeout = cmp.Or(c.ExitTimeout, DefaultExitTimeout)
	c.Propagation = max(cmp.Or(c.Propagation, DefaultPropagation), 0)
	c.Settle = max(cmp.Or(c.Settle, DefaultSettle), 0)
	switch {
	case len(c.Command) == 0 && c.Serve == nil:
		return c, errors.New("draintest: neither Command nor Serve is set")
	case len(c.Command) > 0 && c.Serve != nil:
		return c, errors.New("draintest: both Command and Serve are set")
	case c.Terminations < 0:
		return c, fmt.Errorf("draintest: Terminations is negative: %d", c.Terminations)
	case c.Clients < 0:
		return c, fmt.Errorf("draintest: Clients is negative: %d", c.Clients)
	case c.ExitTimeout < 0:
		return c, fmt.Errorf("draintest: ExitTimeout is negative: %v", c.ExitTimeout)
	}
	if err := errors.Join(checkPath("Path", c.Path), checkPath("Ready", c.Ready)); err != nil {
		return c, err
	}
	if c.Kinds = slices.Clone(c.Kinds); len(c.Kinds) == 0 {
		c.Kinds = defaultKinds()
	}
	for i := range c.Kinds {
		c.Kinds[i].Clients = cmp.Or(c.Kinds[i].Clients, c.Clients)
	}
	return c, checkKinds(c.Kinds)
}

// checkPath says what is wrong with a path. Otherwise each request would fail on
// its own, far from the mistake.
func checkPath(field, path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("draintest: %s does not begin with \"/\": %q", field, path)
	case strings.ContainsFunc(path, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("draintest: %s has a space or a control character: %q", field, path)
	}
	return nil
}

// Roll rolls the server and reports what came of it. It returns when all that it
// has started is over. An error means that the roll could not be done, and says
// nothing about losses; the report then has what was counted until then. When
// ctx ends, what runs is killed and its error returned.
func Roll(ctx context.Context, c Config) (*Report, error) {
	c, err := c.check()
	if err != nil {
		return nil, err
	}
	r := newRoller(c)
	defer r.close() // by force
	old, err := r.start(ctx)
	if err != nil {
		return &r.report, err
	}
	r.routes.add(old.address())
	r.load()
	for range c.Terminations {
		if old, err = r.replace(ctx, old); err != nil {
			return &r.report, err
		}
	}
	r.stopLoad()
	if err := r.end(ctx, old, nil); err != nil {
		return &r.report, err
	}
	return &r.report, left(old)
}

// replace starts the next server and terminates the old one.
func (r *roller) replace(ctx context.Context, old instance) (next instance, err error) {
	next, err = r.start(ctx)
	if err != nil {
		return nil, err
	}
	r.routes.add(next.address())
	if err := await(ctx, r.Settle, old, next); err != nil {
		return nil, err
	}
	t0 := time.Now()
	known := r.routes.remove(old.address(), r.Propagation)
	if err := r.end(ctx, old, next); err != nil {
		return nil, err
	}
	r.report.Exits = append(r.report.Exits, time.Since(t0))
	if err := left(old); err != nil {
		return nil, err
	}
	return next, await(ctx, time.Until(known), next, nil)
}

// end terminates a server and waits until it is gone, while next, unless it is
// nil, stays.
func (r *roller) end(ctx context.Context, old, next instance) error {
	if err := old.terminate(); err != nil {
		return err
	}
	timer := time.NewTimer(r.ExitTimeout)
	defer timer.Stop()
	select {
	case <-old.gone():
		return nil
	case <-gone(next):
		return early(next)
	case <-timer.C:
		return fmt.Errorf("draintest: the server has not left %v after it was told to%s", r.ExitTimeout, old.said())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits for d. It is an error when one of two servers, of which one may be
// nil, leaves meanwhile: nobody has told it to.
func await(ctx context.Context, d time.Duration, a, b instance) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-gone(a):
		return early(a)
	case <-gone(b):
		return early(b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func gone(i instance) <-chan struct{} {
	if i == nil {
		return nil
	}
	return i.gone()
}

// left returns the error of a server that has left when it was told to.
func left(i instance) error {
	if err := i.err(); err != nil {
		return fmt.Errorf("draintest: the server left with an error: %w", err)
	}
	return nil
}

func early(i instance) error {
	if err := i.err(); err != nil {
		return fmt.Errorf("draintest: the server left before it was told to: %w", err)
	}
	return errors.New("draintest: the server left before it was told to" + i.said())
}
