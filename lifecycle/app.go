// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/probes"
)

// An App is a process: its components, its probes and its time. It must not be
// changed once it runs, and runs once.
type App struct {
	// Components are started after what they depend on and stopped before it;
	// those that do not depend on one another start and stop side by side.
	Components []Component

	// Probes answers for the process. Nil means a new registry. A caller that
	// wants the probes on a router of its own sets it and calls its Mount.
	Probes *probes.Registry

	// ProbeAddr is the TCP address of a listener for the probes alone, opened
	// before anything starts and closed when all else is over. Empty means that
	// there is none.
	ProbeAddr string

	// GracePeriod is the time from the signal until the process would be killed:
	// terminationGracePeriodSeconds in Kubernetes, which counts it from the start
	// of the pre-stop hook. Zero means the environment variable GRACE_PERIOD, a
	// Go duration, or DefaultGracePeriod when it is empty. Negative is an error.
	GracePeriod time.Duration

	// PreStop is how much of the grace period a pre-stop hook of the deployment
	// has used by the time the signal comes. Negative is an error.
	PreStop time.Duration

	// Reserve is the end of the grace period that serving and stopping may not
	// use: Flush, and the delay between the orchestrator's clock and this one.
	// Zero means DefaultReserve, or a quarter of the grace period if that is
	// less. Negative is an error.
	Reserve time.Duration

	// Floor is the floor of every server that sets none of its own: the shortest
	// time for which new connections are accepted after the signal. Zero means
	// the environment variable PRE_STOP_DELAY, a Go duration, or that of
	// [drain.EnvironmentFloor] when it is empty. Negative means none.
	Floor time.Duration

	// Flush is called when everything has stopped, within the reserve: log,
	// trace and metric exporters. Nil means nothing.
	Flush func(ctx context.Context) error

	// Logger receives the story of start and stop. Nil means [slog.Default].
	Logger *slog.Logger

	ran int32 // 1 once it has been run; atomic
}

// Defaults for the fields of [App].
const (
	DefaultGracePeriod = 30 * time.Second // as terminationGracePeriodSeconds
	DefaultReserve     = 2 * time.Second
)

// A Component is a part of a process. Every function is optional. An error, a
// panic or a [runtime.Goexit] in one is an [Error] that carries the component's
// name.
type Component struct {
	// Name is unique among the components.
	Name string

	// DependsOn names the components that have to be usable before this one
	// starts, and until it has stopped.
	DependsOn []string

	// Start returns when the component is usable. Its context ends when all
	// components have started, or when the process is told to stop before that.
	Start func(ctx context.Context) error

	// Run does the component's work after Start, until its context ends or the
	// work is over. If it returns before the shutdown has begun, with an error or
	// without, the shutdown begins. Its context lives through the drain: it ends
	// when it is the component's turn to stop, and Stop is then called without
	// waiting for Run to return.
	Run func(ctx context.Context) error

	// Stop ends the component. It is called once, if Start has succeeded, when
	// everything that depends on the component has stopped. Its context ends
	// when the component's share of the remaining time is over.
	Stop func(ctx context.Context) error

	// Ready is a readiness check under the component's name, as in
	// [probes.Registry.AddReadiness]. It is called from when Start has returned
	// until the shutdown begins. An error fails the check and nothing else.
	Ready func(ctx context.Context) error

	// Server, if set, makes the component a server: it listens on Server.HTTP.Addr
	// (TLS, if Server.HTTP.TLSConfig is set), and is drained when the shutdown
	// begins, or, if other servers depend on it, when those have been. Start, Run
	// and Stop must then be nil.
	Server *drain.Server
}

// HTTP returns a component that serves srv on its Addr and drains it.
func HTTP(name string, srv *http.Server, dependsOn ...string) Component {
	return Component{Name: name, DependsOn: dependsOn, Server: &drain.Server{HTTP: srv}}
}

// Run starts the components, waits until ctx is done or a component's Run
// returns, and takes everything down again. It installs no signal handler and
// does not exit the process. It returns by the end of the grace period, whichever
// component hangs; what hangs then is left running. A Logger that blocks holds it,
// though not Main.
//
// The error is nil after a clean shutdown. Otherwise it joins all errors; it
// wraps [ErrConfig] if nothing was started, [ErrStart] if a component did not
// start, and [ErrDeadline] if something was cut or hung. A shutdown that begins
// during the start is clean.
func (a *App) Run(ctx context.Context) error {
	p, err := newProcess(a)
	if err != nil {
		return err
	}
	return p.run(ctx)
}
