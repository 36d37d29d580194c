// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/probes"
)

// An App is a process: its components, its probes and its time. It runs once, must
// not be changed once it runs, and must not be copied. What is added to Components
// later is not seen.
type App struct {
	// Components are started after what they depend on and stopped before it;
	// those that do not depend on one another start and stop side by side.
	Components []Component

	// Probes answers for the process. Nil means a new registry. A caller that
	// wants the probes on a router of its own sets it and calls its Mount.
	Probes *probes.Registry

	// ProbeAddr is the TCP address of a listener for the probes alone, opened
	// before anything starts and closed when all else is over. Empty means that
	// there is none. If it cannot be opened nothing starts, and the error is that of
	// the start of "probes"; if it breaks later, the shutdown begins, and the error is
	// that of its run. A request has to come within five seconds, with a header of at
	// most 64 KiB, and its answer has to be taken in five; a connection may be idle for
	// two minutes.
	ProbeAddr string

	// Admin, if set, answers what else is asked on ProbeAddr, such as metrics, for
	// as long as the probes are answered. An answer may take its time; the body of a
	// request has to come within a minute.
	Admin http.Handler

	// PreStopToken, if not empty, adds /prestop to ProbeAddr, for the pre-stop hook
	// of a deployment: a GET begins the shutdown, and is answered when every
	// server's accept window is over. It has to carry the token, in the header
	// Authorization as "Bearer " and the token; it is answered 403 otherwise. The
	// signal that follows is the first one: it changes nothing. It is an error
	// without ProbeAddr, and with PreStop.
	PreStopToken string

	// GracePeriod is the time from the signal until the process would be killed:
	// terminationGracePeriodSeconds in Kubernetes, which counts it from the start
	// of the pre-stop hook. Zero means the environment variable GRACE_PERIOD, a
	// Go duration, or DefaultGracePeriod when it is empty. Negative is an error, and
	// so is one that leaves less than 10 ms to the components after PreStop and the
	// reserve, with the sum written out.
	GracePeriod time.Duration

	// PreStop is how much of the grace period a pre-stop hook of the deployment
	// has used by the time the signal comes. Negative is an error.
	PreStop time.Duration

	// Reserve is the end of the grace period that serving and stopping may not
	// use: Flush, and the delay between the orchestrator's clock and this one.
	// Zero means DefaultReserve, or a quarter of the grace period if that is
	// less, but 10 ms at least. Negative is an error.
	Reserve time.Duration

	// Floor is the floor of every server that sets none of its own: the shortest
	// time for which new connections are accepted after the signal. Zero means
	// the environment variable SHUTDOWN_DELAY, a Go duration, or when it is empty
	// [drain.DefaultFloor] inside Kubernetes (KUBERNETES_SERVICE_HOST is set) and
	// none outside. Negative means none.
	Floor time.Duration

	// Flush is called when everything has stopped: log, trace and metric exporters.
	// Half of the reserve is its own. If there is more time left it has as much as
	// the components' stop functions, five seconds or a quarter of the time to the
	// deadline, and not all: a collector that is gone should not keep the process.
	// A longer reserve gives it more. Nil means nothing.
	Flush func(ctx context.Context) error

	// Logger receives the story of start and stop. Nil means [slog.Default]. It is
	// called in a goroutine of its own: a log that blocks or panics holds nothing
	// up but its own lines, and is then complained of on standard error. Whether it
	// wants the debug lines, of which each component has two, is asked with each
	// line that it is given, for those that follow.
	Logger *slog.Logger

	// Observers are told each [Event], in order, each in a goroutine of its own.
	// One that blocks or panics is named in the log, is told nothing more, and
	// changes nothing else; at the end it is waited for, for a second at most. An
	// observer may call Shutdown. A nil one is an error.
	Observers []func(Event)

	mu     sync.Mutex // guards what follows; nothing is called under it but cancel
	ran    bool
	reason error                   // of the first Shutdown
	cancel context.CancelCauseFunc // of the run; nil before it
	report *Report
}

// Defaults for the fields of [App].
const (
	DefaultGracePeriod = 30 * time.Second // as terminationGracePeriodSeconds
	DefaultReserve     = 2 * time.Second
)

// A Component is a part of a process. Every function is optional. An error, a
// panic or a [runtime.Goexit] in one is an [Error] that carries the component's
// name. One goroutine may call those of several components, one after the other: what
// is to have its thread to itself, as after [runtime.LockOSThread], needs one of its own.
type Component struct {
	// Name is unique among the components, and neither "flush" nor "probes", which
	// stand for App.Flush and the probe listener in errors and logs.
	Name string

	// DependsOn names the components that have to be usable before this one
	// starts, and until it has stopped.
	DependsOn []string

	// Start returns when the component is usable. One that takes longer than two seconds
	// is named in the log and, until it returns, by the startup and readiness probes,
	// as a step of the start-up ("missing: db"). Its context ends when all
	// components have started, or when the process is told to stop before that. The
	// error that it returns then is one of the process too, unless it is the context's:
	// [context.Canceled] or the cause, wrapped or not.
	Start func(ctx context.Context) error

	// Run does the component's work after Start, until its context ends or the
	// work is over. If it returns before the shutdown has begun, with an error or
	// without, the shutdown begins. Its context lives through the drain: it ends
	// when it is the component's turn to stop, and Stop is then called without
	// waiting for Run to return. What it returns from then on is no error if it is the
	// context's, [net.ErrClosed] or [http.ErrServerClosed]: Stop may have closed what
	// Run served.
	Run func(ctx context.Context) error

	// Drain stops the intake of a worker, a consumer or a scheduler, and returns when
	// what was taken in is finished: the Drain of a [drain.Tracker], for example. It
	// is called when the shutdown begins, or, if servers and other workers depend on
	// the component, when those have been drained; so it is still served by all that
	// it depends on. Its context ends when its share of the drain's time is over.
	// Run's goes on, until it is the component's turn to stop. If Run has failed, by an
	// error or a panic, nobody is left to finish the work: Drain's context then ends at
	// once, and its error says what is lost; the status of the exit is Run's. A Run that has
	// returned nil has left nothing undone itself, but goroutines that it has handed work
	// to may go on: Drain has all of its time.
	Drain func(ctx context.Context) error

	// Stop ends the component. It is called once, if Start has succeeded, when
	// everything that depends on the component has stopped. Its context ends
	// when the component's share of the remaining time is over.
	Stop func(ctx context.Context) error

	// Listen opens the listener of the Server: for a Unix socket, a port of one's
	// own choice, or a socket of systemd's by [Activated]. Listeners of
	// [drain.Listen] are drained best. Nil means TCP on Server.HTTP.Addr or Addr. Without a
	// Server it is an error.
	Listen func(ctx context.Context) (net.Listener, error)

	// Ready is a readiness check under the component's name, as in
	// [probes.Registry.AddReadiness]. It is called from when Start has returned
	// until the shutdown begins, while those of the components it depends on
	// pass. An error fails the check, and nothing else but readiness.
	Ready func(ctx context.Context) error

	// Server, if set, makes the component a server: it listens on Server.HTTP.Addr
	// (TLS, if Server.HTTP.TLSConfig is set) or, with Server.GRPC, on Addr, and is
	// drained when the shutdown begins, or, if other servers depend on it, when those
	// have been. Start, Run and Stop must then be nil.
	Server *drain.Server

	// Addr is the TCP address of a Server with a GRPC, which has none of its own.
	Addr string
}

// address returns where the component's server listens.
func (c *Component) address() string {
	if c.Server.HTTP != nil {
		return c.Server.HTTP.Addr
	}
	return c.Addr
}

// HTTP returns a component that serves srv on its Addr and drains it.
func HTTP(name string, srv *http.Server, dependsOn ...string) Component {
	return Component{Name: name, DependsOn: dependsOn, Server: &drain.Server{HTTP: srv}}
}

// Run starts the components, waits until ctx is done, Shutdown is called or a
// component's Run returns, and takes everything down again. It installs no signal
// handler and does not exit the process. It returns by the end of the grace
// period, whatever hangs: a component, an observer or the log. What hangs then is
// left running.
//
// The error is nil after a clean shutdown. Otherwise it joins all errors; it
// wraps [ErrConfig] if nothing was started, [ErrStart] if a component or the probe
// listener did not start, and [ErrDeadline] if something was cut or hung. A shutdown
// that begins during the start is clean, if the components that are still starting
// return no errors of their own.
func (a *App) Run(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w: the context is nil", ErrConfig)
	}
	p, err := newProcess(a)
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// Shutdown begins the shutdown and returns at once. It may be called at any time,
// from any goroutine, hooks, checks and observers included, and any number of
// times: the first reason is the one that is logged and reported. It is not an
// error; a component that has one returns it from its Run. Before Run it makes
// Run start nothing.
func (a *App) Shutdown(reason string) {
	if reason == "" {
		reason = "Shutdown was called"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reason != nil {
		return
	}
	a.reason = errors.New(reason)
	if a.cancel != nil {
		a.cancel(a.reason)
	}
}

// shutdownContext returns a context that ends with ctx, and when Shutdown is called.
func (a *App) shutdownContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = cancel
	if a.reason != nil {
		cancel(a.reason)
	}
	return ctx, func() { cancel(nil) }
}

// setRan says whether the App has been run, and returns what it said before.
func (a *App) setRan(ran bool) (before bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, a.ran = a.ran, ran
	return before
}

// setReport publishes the report.
func (a *App) setReport(r *Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report = r
}
