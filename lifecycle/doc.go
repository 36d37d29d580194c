// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package lifecycle starts and stops the parts of a process in the order of
// their dependencies, on one deadline, and tells its probes the truth meanwhile.
//
// An [App] is a list of [Component] values. [Main] runs it until a signal comes
// and exits the process; [App.Run] does the same without signals and without
// exit, for embedding and for tests.
//
// # Instants
//
// The way down is a timeline of named instants. Each is one [Event] to every observer,
// and one line of log/slog, with its name under the key "instant"; that of Starting has
// its message alone.
//
//	Starting            the probe listener is not yet open
//	Started             every component has started; readiness follows the checks
//	ShutdownInitiated   T0: readiness is 503 from here on, for good; liveness
//	                    stays 200; everything is still served
//	AcceptWindowClosed  a server has closed its listener, see package drain
//	Drained             no connection is left, or the drain's time was up
//	ComponentsStopped   dependants before what they depend on
//	Flushed             App.Flush has returned
//	Exited              the probe listener is closed, the last thing of all
//
// In between, ComponentStarted, ComponentStopped, ComponentFailed and
// ComponentLeftBehind say what has become of one component. The sum of it all is
// the [Report].
//
// # States of a component
//
//	waiting --> starting --> running --> draining --> stopping --> "stopped"
//	   |            |           |            |            |
//	   |            +-----------+------------+------------+------> "failed"
//	   |            +-----------+------------+------------+------> "left behind"
//	   +---------------------------------------------------------> "not started"
//
// What is in quotes is the Fate in the [ComponentReport]. A component waits for what it
// depends on; it drains only if it has a Drain or a Server. An error or a panic makes it
// failed; left behind is what has not returned by its share of the time, and whatever had
// to be cut. Neither ends the way: what failed or hung while it ran or drained is
// stopped in its turn. Only what has not started is not stopped.
//
// # Budget
//
// There is one deadline: T0, plus the grace period, minus the time that a
// pre-stop hook has used, minus the reserve. The components' stop functions own
// the last part of what is before it, five seconds or a quarter of the time if
// that is less; the accept window and the drain own the rest, and what they do
// not use passes on. Flush has half of the reserve for its own, or as much as the stop
// functions while that is left. In a chain of what has to be drained each server has the rest
// of its floor, which counts from T0, and an equal part of what is left. What does
// not fit is an error before anything starts, with the sum written out. [App.Plan] says all this before anything runs.
//
// No stop can take another's time: a component that has not returned by its
// share of what is left is left behind, named in the error and logged with the
// stacks of its goroutines, and what it depends on is stopped all the same. Its
// context ends up to 50 ms before that, so that one which obeys can still say how
// far it got.
//
// # Faults
//
// FAULTS.md has a table of what happens when a part of the process fails, panics or
// hangs, where it stands. The goroutines of a component carry its name as the
// profiler label "lameduck.component", and a number of the App's as "lameduck.app",
// and so do those that they start, and the contexts of an HTTP server's requests. A
// goroutine whose labels were replaced is found by the functions that it is in: those
// of the component, or those of net/http and of gRPC that call a server's handlers. A
// panic in a goroutine that a component has started is beyond reach.
//
// The stacks are those of a goroutine profile, which costs some microseconds for each
// goroutine of the process. It is begun so much earlier than the deadline, in a tenth
// of the component's share at most, and is waited for 10 ms longer, or a twentieth of
// the reserve if that is less. If it is not done then, the log and the report say so, and they
// have the stacks later if it is done before the exit. At most 16 KiB are written of
// one component.
//
// # Concurrency
//
// Functions of two components go on side by side, unless one depends on the other. Of one
// component start comes before run; drain and stop come after the start, one after the
// other and beside the run. No function is waited for beyond its time, and none may count
// on the goroutine that it is called in. Observers and the log have goroutines of their own.
// [App.Shutdown] and [App.Report] may be called from anywhere at any time.
//
// # A pre-stop hook
//
// None is needed. Where a deployment wants one all the same, set
// [App.PreStopToken], and in the deployment
//
//	lifecycle:
//	  preStop:
//	    httpGet:
//	      port: 8081
//	      path: /prestop
//	      httpHeaders: [{name: Authorization, value: Bearer <token>}]
//
// The hook's call is T0; the SIGTERM that follows changes nothing, and a second one
// ends the process.
//
// # systemd
//
// [Main] speaks the protocol of sd_notify(3) when it is asked to, by a unit such as
//
//	[Service]
//	Type=notify
//	Environment=GRACE_PERIOD=90s
//	TimeoutStopSec=90s
//	WatchdogSec=10s
//
// [Activated] takes over the sockets that a socket unit has opened. They outlive the
// process: clients that come meanwhile are served by its successor.
//
// # Signals
//
// [Main] takes SIGTERM and the interrupt, and no other signal; [App.Run] takes none.
// SIGQUIT ends the process at once, with the stacks of all goroutines.
//
// SIGHUP keeps what the program makes of it, because it has two meanings: a service
// manager sends it for a reload, a terminal when it is closed. By default it ends a Go
// program at once, and nothing is drained, unless it was ignored when the program
// started, as nohup(1) does. A program that is to be shut down by it calls
// [os/signal.Notify] for it, and [App.Shutdown].
//
// # Windows
//
// As package [os/signal] says, the runtime turns console events into signals, and so
// [Main] begins the shutdown at each of them: CTRL_C and CTRL_BREAK are the interrupt;
// CTRL_CLOSE, when the window is closed, CTRL_LOGOFF and CTRL_SHUTDOWN are SIGTERM.
// After the latter three Windows ends the process by itself, some seconds later: 5 s by
// default after the closing of a window. The grace period has to be less.
//
// A service is told to stop by its control handler, which calls [App.Shutdown]; see the
// example there. It calls [App.Run] and not Main, because the service manager wants its
// status before the process is gone, and because a service is sent CTRL_LOGOFF whenever
// a user logs off.
package lifecycle
