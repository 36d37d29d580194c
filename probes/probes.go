// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults for the fields of [Check], and for liveness checks.
const (
	DefaultTimeout  = 1 * time.Second
	DefaultInterval = 5 * time.Second
)

// ErrInvalid is wrapped by the error of a registration that is refused.
var ErrInvalid = errors.New("probes: invalid check")

// A Check is a readiness check.
type Check struct {
	// Name is what answers and log lines call the check. It is required, and
	// unique among the readiness checks of a registry.
	Name string

	// Func returns nil when the check passes. It is required. Its context ends
	// at Timeout and when that of Run does. It is never called while an earlier
	// call still runs.
	Func func(ctx context.Context) error

	// Timeout is how long a run may take before the check is failing; what Func
	// returns after it does not count. Zero means DefaultTimeout; negative is an
	// error.
	Timeout time.Duration

	// Interval is the time between the end of a run and the start of the next.
	// It is shortened by up to a tenth at random, so that replicas do not ask
	// the same dependency at the same moment. Zero means DefaultInterval;
	// negative is an error.
	Interval time.Duration
}

// A Registry holds checks, runs them and answers probes. Its zero value is ready
// to use; it must not be copied after first use.
type Registry struct {
	// Logger gets one line for each change of a check's state. Nil means
	// slog.Default(). It must not be changed once Run is called, and must not
	// block: checks are not started while it does.
	Logger *slog.Logger

	// current is what the probes answer. It is stored under mu only, so that a
	// later state is never replaced by an earlier one. Nil: nothing has
	// happened yet.
	current atomic.Pointer[snapshot]

	mu      sync.Mutex    // guards what follows; nothing is called out to under it
	checks  []*check      // in the order of their names
	started bool          // Started was called
	down    bool          // Shutdown was called
	changed chan struct{} // capacity 1: something that Run looks at; nil before Run
	events  []event       // changes of state that are not logged yet

	published chan struct{} // closed by the next publish; nil if nobody waits for it
}

// A kind is one of the three probes.
type kind int

const (
	liveness kind = iota
	readiness
	startup
	kinds // how many there are
)

func (k kind) String() string {
	return [kinds]string{"liveness", "readiness", "startup"}[k]
}

// A state is what is known of a check.
type state int

const (
	unknown state = iota // no run is over yet
	passing
	failing
)

// A check is a registered one. All but the embedded Check and kind is guarded
// by the registry's mutex.
type check struct {
	Check
	kind kind

	state   state
	broken  string // how it first panicked or left its goroutine; empty: not yet
	running bool
	began   time.Time // when the last run did
	next    time.Time // when the next run is to start
	due     time.Time // when the next result is overdue; zero: never
}

// Broken returns the names of the checks that have panicked or called
// [runtime.Goexit], each with what it said when it first did: a defect of the
// program, although to a prober it is just a check that fails. It may be called at
// any time.
func (r *Registry) Broken() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	broken := make(map[string]string)
	for _, c := range r.checks {
		if c.broken != "" {
			broken[c.Name] = c.broken
		}
	}
	return broken
}

// AddReadiness adds a check without which the process should get no traffic.
// While Run runs, the check is started at once. The error wraps ErrInvalid.
func (r *Registry) AddReadiness(c Check) error {
	return r.add(c, readiness)
}

// AddLiveness adds a check of the process itself: failing means that only a
// restart can help. It passes until its first run says otherwise, and has
// DefaultTimeout and DefaultInterval. Its name is unique among the liveness
// checks. The error wraps ErrInvalid.
func (r *Registry) AddLiveness(name string, f func() error) error {
	c := Check{Name: name}
	if f != nil {
		c.Func = func(context.Context) error { return f() }
	}
	return r.add(c, liveness)
}

func (r *Registry) add(c Check, k kind) error {
	switch {
	case c.Name == "":
		return fmt.Errorf("%w: a %v check has no name", ErrInvalid, k)
	case c.Func == nil:
		return fmt.Errorf("%w: %v check %q has no function", ErrInvalid, k, c.Name)
	case c.Timeout < 0:
		return fmt.Errorf("%w: %v check %q has the negative timeout %v", ErrInvalid, k, c.Name, c.Timeout)
	case c.Interval < 0:
		return fmt.Errorf("%w: %v check %q has the negative interval %v", ErrInvalid, k, c.Name, c.Interval)
	}
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	added := &check{Check: c, kind: k}

	r.mu.Lock()
	defer r.mu.Unlock()
	i, taken := slices.BinarySearchFunc(r.checks, added, func(a, b *check) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.kind, b.kind))
	})
	if taken {
		return fmt.Errorf("%w: there is a %v check %q already", ErrInvalid, k, c.Name)
	}
	r.checks = slices.Insert(r.checks, i, added)
	r.publishLocked(time.Now())
	r.wakeLocked()
	return nil
}

// Started says that start-up is over: from here on the startup probe passes and
// the readiness probe follows the checks.
func (r *Registry) Started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	r.publishLocked(time.Now())
}

// Shutdown turns readiness red for good, whatever is called or recovers later.
// Liveness and startup go on as before. Readiness checks have nothing to say any
// more and are not started again: what they ask may be stopped before they are.
func (r *Registry) Shutdown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	r.publishLocked(time.Now())
	r.wakeLocked()
}

// LiveHandler returns the handler of the liveness probe.
func (r *Registry) LiveHandler() http.Handler { return &handler{r, liveness} }

// ReadyHandler returns the handler of the readiness probe.
func (r *Registry) ReadyHandler() http.Handler { return &handler{r, readiness} }

// StartupHandler returns the handler of the startup probe.
func (r *Registry) StartupHandler() http.Handler { return &handler{r, startup} }

// A Mux is where handlers are mounted: a [*http.ServeMux], a chi.Router, and
// whatever else has this method.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Mount mounts the three handlers at /livez, /readyz and /startupz.
func (r *Registry) Mount(m Mux) {
	m.Handle("/livez", r.LiveHandler())
	m.Handle("/readyz", r.ReadyHandler())
	m.Handle("/startupz", r.StartupHandler())
}
