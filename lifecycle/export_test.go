// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/lameduck-go/lameduck/drain"
)

// RunOn is Run with a probe listener of the caller's own.
func RunOn(ctx context.Context, a *App, listen func(ctx context.Context, network, address string) (net.Listener, error)) error {
	p, err := newProcess(a)
	if err != nil {
		return err
	}
	p.listenProbes = listen
	return p.run(ctx)
}

// RunDrainingBy is Run with another function in the place of the Drain of the servers.
func RunDrainingBy(ctx context.Context, a *App, drain func(*drain.Server, context.Context) (drain.Report, error)) error {
	p, err := newProcess(a)
	if err != nil {
		return err
	}
	p.drainServerBy = drain
	return p.run(ctx)
}

// MainThatHangs is Main with a shutdown that hangs itself: the first component waits
// to be drained after one that never is.
func MainThatHangs(a *App) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	p, err := newProcess(a)
	if err != nil {
		panic(err)
	}
	never := new(part)
	never.toStart.Store(2)
	p.parts[0].dependants = append(p.parts[0].dependants, never)
	os.Exit(p.main(signals))
}

// What the probe listener is made of, for tests in fake time.
var (
	NewProbeServer = newProbeServer
	Unhurried      = unhurried
)

// Watched returns what the probe listener of an App answers.
func Watched(a *App) http.Handler {
	p, err := newProcess(a)
	if err != nil {
		panic(err)
	}
	return p.watched()
}

// Begun reports whether the shutdown of an App has begun.
func Begun(a *App) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reason != nil
}
