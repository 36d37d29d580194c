// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// An Event is what an observer is told of: one of the named instants of the
// package documentation, or what has become of one component.
type Event struct {
	// Instant is the name of the instant: Starting, ComponentStarted, Started,
	// ShutdownInitiated, AcceptWindowClosed, Drained, ComponentStopped,
	// ComponentFailed, ComponentLeftBehind, ComponentsStopped, Flushed or Exited.
	Instant string

	Time      time.Time
	Component string        // which one, in the instants of a component
	Took      time.Duration // a component: its start, drain or stop; the process: since the start, or since T0
	Reason    string        // with ShutdownInitiated
	Err       error         // with ComponentFailed and ComponentLeftBehind, and with Exited what Run returns
	Drain     *drain.Report // with Drained
	Report    *Report       // with Exited; to be read only
}

// An observer is one of App.Observers.
type observer struct {
	name    string
	courier *courier[Event]
}

// observe starts what tells the observers and the log.
func (p *process) observe() {
	go p.story.courier.run()
	for _, f := range p.app.Observers {
		p.observers = append(p.observers, observer{runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name(), newCourier(f)})
	}
	if p.notifier != nil {
		p.observers = append(p.observers, observer{"systemd", newCourier(p.notifier.tell)})
	}
	for _, o := range p.observers {
		go pprof.Do(context.Background(), pprof.Labels(stackLabel, o.name, appLabel, p.profiler.app), func(context.Context) { o.courier.run() })
	}
}

// tell tells every observer.
func (p *process) tell(e Event) {
	if len(p.observers) == 0 {
		return
	}
	e.Time = time.Now()
	for _, o := range p.observers {
		o.courier.send(e)
	}
}

// goodbye is how long observers and the log may take for what they have not yet
// been told when everything else is over.
const goodbye = time.Second

// dismiss waits until the observers and then the log have been told everything,
// for as long as the grace period and goodbye let it, and names those that were
// not.
func (p *process) dismiss() {
	until := time.Now().Add(goodbye)
	if end := p.t0.Add(p.budget.overdue()); !p.t0.IsZero() && end.Before(until) {
		until = end
	}
	for _, o := range p.observers {
		o.courier.close()
	}
	for _, o := range p.observers {
		if fault := o.courier.wait(until); fault != "" {
			stacks, _ := p.profiler.begin(p.phase()).by(until.Add(p.budget.stacksWait()), o.name, nil)
			p.log.Warn("observer has not been told everything", "observer", o.name, "error", fault, "stacks", stacks)
		}
	}
	p.story.courier.close()
	fault := p.story.courier.wait(until.Add(lastWait))
	if broken := p.story.broken.Load(); fault == "" && broken != nil {
		fault = *broken
	}
	if fault != "" {
		complain(fmt.Sprintf("the Logger has not written everything: %s", fault))
	}
}
