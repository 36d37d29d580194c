// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A profiler takes the goroutine profiles of a process. One costs some microseconds
// for each goroutine that there is, whoever it belongs to; so it is taken in a
// goroutine of its own, which nobody waits for longer than stacksWait, one serves all
// that hang with it, and each phase is sure of one and no more, unless those that it
// has taken used less than a tenth of the time.
type profiler struct {
	app string // the value of appLabel

	mu   sync.Mutex // guards what follows
	last *profile
}

// apps counts the processes, for a label of each.
var apps atomic.Int64

func newProfiler() *profiler { return &profiler{app: strconv.FormatInt(apps.Add(1), 10)} }

// begin returns a profile that has just begun, or the last one if that has to do. It
// is waited for by whoever wants it. What has begun ends by itself.
func (p *profiler) begin(phase int) *profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.servesFor(phase) {
		p.last = &profile{phase: phase, done: make(chan struct{})}
		go p.last.take(p.app)
	}
	return p.last
}

func (p *profile) servesFor(phase int) bool {
	switch {
	case p == nil:
		return false
	case !isClosed(p.done):
		return true
	}
	return p.phase == phase && time.Since(p.ended) <= 9*p.took
}

// lead is how long before a deadline a profile is begun, to be done by it: more than
// what each goroutine costs, as BenchmarkStacks has it, and what a busy machine may
// take for it, but no more than a tenth of the given time.
func lead(given time.Duration) time.Duration {
	return max(min(lastLook/2+time.Duration(runtime.NumGoroutine())*10*time.Microsecond, given/10), 0)
}

// stacksWait is how long after a deadline a profile is waited for: not so long that
// the next phase would miss it.
func (b budget) stacksWait() time.Duration { return min(10*time.Millisecond, b.reserve/20) }

// phase returns the number of the phase.
func (p *process) phase() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.phases)
}

const notInTime = "not known: the goroutine profile was not done in time, and takes longer the more goroutines there are"

// by returns the stacks of the goroutines that belong to a component, if the profile
// is done by the deadline.
func (p *profile) by(deadline time.Time, component string, functions []string) (stacks string, ok bool) {
	if _, ok = receive(p.done, deadline); !ok {
		return notInTime, false
	}
	return p.of(component, functions), true
}

// functions returns the names of the component's functions, as the profile has them;
// those of the function literals in them begin with theirs and a dot.
func (p *part) functions() (names []string) {
	switch {
	case p.Server == nil:
	case p.Server.HTTP != nil:
		names = append(names, "net/http.(*conn).serve", "net/http.(*http2serverConn).runHandler")
	default:
		names = append(names, "google.golang.org/grpc.(*Server).handleStream")
	}
	for _, f := range []any{p.Start, p.Run, p.Drain, p.Stop} {
		if v := reflect.ValueOf(f); !v.IsNil() {
			names = append(names, strings.TrimSuffix(runtime.FuncForPC(v.Pointer()).Name(), "-fm"))
		}
	}
	return names
}

// awaited is receive, and begins a profile that long before the deadline: what has
// not come by then is about to be said to hang.
func awaited[T any](p *process, c <-chan T, deadline time.Time, lead time.Duration) (v T, ok bool) {
	if v, ok = receive(c, deadline.Add(-lead)); ok {
		return v, true
	}
	p.profiler.begin(p.phase())
	return receive(c, deadline)
}

// receive returns what comes on c, or is not ok at the deadline. A channel that is
// closed is ok.
func receive[T any](c <-chan T, deadline time.Time) (v T, ok bool) {
	select {
	case v = <-c:
		return v, true
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case v = <-c:
		return v, true
	case <-timer.C:
	}
	select {
	case v = <-c: // both: the result is worth more
		return v, true
	default:
		return v, false
	}
}

// leftBehind notes that a part did not come to its end in time, and logs the stacks
// of its goroutines. What it has said at its end is nil if it has not come to that.
func (p *process) leftBehind(part *part, op string, said error) {
	err := part.overdue(op, said)
	p.fail(err)
	profile := p.profiler.begin(p.phase())
	stacks, known := profile.by(time.Now().Add(p.budget.stacksWait()), part.Name, part.functions())
	p.log.Error("component left behind at its deadline",
		"component", part.Name, "op", op, "error", err, "after", time.Since(p.t0), "stacks", stacks)
	part.note(func(r *ComponentReport) {
		r.Fate, r.Stacks = leftBehind, stacks
		if part.late = nil; !known {
			part.late = profile
		}
	})
	p.tell(Event{Instant: "ComponentLeftBehind", Component: part.Name, Err: err})
}

// saidLate adds to the error of a part that was left behind what it has said since.
func (p *process) saidLate(part *part, op string, said error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, err := range p.errs {
		if e, ok := err.(*Error); ok && e.late && e.Component == part.Name && e.Op == op {
			p.errs[i] = part.overdue(op, said)
		}
	}
}

// lateDrains completes the report by the drains that were left behind and are over.
func (p *process) lateDrains() {
	for _, part := range p.parts {
		if part.lateDrain != nil {
			part.lateDrain()
		}
	}
}

// lateStacks completes the report by the stacks that were not known when their
// component was left behind.
func (p *process) lateStacks() {
	deadline := time.Now().Add(p.budget.stacksWait())
	for _, part := range p.parts {
		var late *profile
		part.note(func(*ComponentReport) { late = part.late })
		if late == nil {
			continue
		}
		stacks, known := late.by(deadline, part.Name, part.functions())
		if !known {
			return
		}
		p.log.Error("stacks of a component that was left behind", "component", part.Name, "stacks", stacks)
		part.note(func(r *ComponentReport) { r.Stacks = stacks })
	}
}
