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
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/internal/graph"
)

// ErrInvalid is wrapped by the error of a registration that is refused.
var ErrInvalid = errors.New("probes: invalid check")

// A Registry holds checks, runs them and answers probes. Its zero value is ready
// to use; it must not be copied after first use, and its fields must not be
// changed after it.
type Registry struct {
	// Logger gets one line for each change of a check's state, with up to 8 KiB of
	// its error, and of a probe's. Nil means slog.Default(). If it blocks, lines
	// and changes wait; nothing else does.
	Logger *slog.Logger

	// OnChange, if not nil, is called with each change of a check's state and of
	// a probe's, one at a time and in order, as long as Run runs. It may call
	// any method. If it blocks, changes and log lines wait; nothing else does,
	// and of more than 1,000 that wait the oldest are dropped. A panic in it is
	// logged.
	OnChange func(Change)

	// Paths of the probes. Empty means /livez, /readyz, /startupz and /servingz;
	// "-" means none. The last one is that of a second readiness probe, which at
	// shutdown stays green until AcceptWindowClosed. Each path also has a
	// sub-path for each check, such as /readyz/db; a path of a probe beneath
	// another's goes first. Mount and Handler panic if two are equal, or one does
	// not begin with a slash or ends with one.
	LivePath, ReadyPath, StartupPath, ServingPath string

	// Prefix, such as /internal, is put before all paths.
	Prefix string

	// FailureCode is the status of a probe that fails. Zero, and what is not
	// from 400 to 599, means 503.
	FailureCode int

	// OffCode is the status of a readiness probe that is off on purpose: at
	// shutdown and for maintenance. HAProxy's disable-on-404 wants 404 there.
	// Zero, and what is not from 400 to 599, means FailureCode.
	OffCode int

	// RedAt is when readiness turns red at shutdown, for good. Zero means
	// AtShutdown.
	RedAt Moment

	// Details says who may see the text of errors. It is called in the request's
	// goroutine for verbose answers only; if it panics the answer is no. Nil
	// means whoever asks the Handler of the registry, and otherwise a peer on a
	// loopback address whose request has no header that proxies add. Nor may a
	// loopback peer, here or there, whose Host is a name other than localhost: it may
	// be a browser on this host with somebody else's page. A proxy on this host that
	// shows neither cannot be told from a person on it: behind such a one, set
	// Details.
	Details func(*http.Request) bool

	// current is what the probes answer. It is stored under mu only, so that a
	// later state is never replaced by an earlier one. Nil: nothing has
	// happened yet.
	current atomic.Pointer[snapshot]

	mu       sync.Mutex // guards what follows; nothing is called out to under it
	checks   roster
	order    []*check // dependencies before dependants
	onDemand []*check // those of order that have a time to live
	moved    bool     // a check has, and that is not published yet
	phase    phase
	changed  chan struct{} // capacity 1: something that Run looks at; nil before Run
	alive    bool          // Run runs

	published chan struct{} // closed when there are news; nil if nobody waits for it
	watching  int           // loops of Watch that have not been given the shutdown
	unwatched chan struct{} // closed when there is none any more; nil: nobody waits for that

	events     []event // changes that are not delivered yet
	dropped    int     // events that were too many
	delivering bool    // a goroutine delivers them
	history    []Change
}

// A Moment is one of the shutdown.
type Moment int

const (
	// AtShutdown is when Shutdown is called: load balancers that probe stop
	// sending while the listener still accepts.
	AtShutdown Moment = iota

	// AtAcceptWindowClosed is when AcceptWindowClosed is called: until then an
	// endpoint of Kubernetes keeps serving as it terminates, which it falls back
	// to when no other is left. Readiness stays what it was at Shutdown.
	AtAcceptWindowClosed

	// Never leaves readiness what it was at Shutdown. The probe fails when its
	// listener is gone.
	Never
)

// A kind is one of the probes.
type kind int

const (
	liveness kind = iota
	readiness
	startup
	serving // readiness, but at shutdown
	kinds   // how many there are
)

func (k kind) String() string {
	return [kinds]string{"liveness", "readiness", "startup", "serving"}[k]
}

// checks returns the kind of the checks that the probe is about.
func (k kind) checks() kind {
	if k == serving {
		return readiness
	}
	return k
}

// Panics returns what the checks that have panicked, or called [runtime.Goexit],
// said when they first did, by their names, as a new map: a defect of the program,
// although to a prober it is just a check that fails.
func (r *Registry) Panics() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	panics := make(map[string]string)
	for c := range r.checks.all() {
		if c.broken != "" {
			panics[c.Name] = c.broken
		}
	}
	return panics
}

// AddReadiness adds checks, all or none. They may depend on one another in any
// order, and on checks that were added before; an unknown name and a cycle are
// errors, with the path written out. While Run runs, the checks are started at
// once. The error wraps ErrInvalid.
func (r *Registry) AddReadiness(checks ...Check) error {
	return r.add(readiness, checks...)
}

// AddLiveness adds a check of the process itself: failing means that only a
// restart can help. It takes no context, so that a check of a dependency does not
// fit. It passes until its first run says otherwise, and has DefaultTimeout and
// DefaultInterval. Its name is unique among the liveness checks. The error wraps
// ErrInvalid.
func (r *Registry) AddLiveness(name string, f func() error) error {
	return r.add(liveness, ownCheck(name, f))
}

// AddLock adds a liveness check that a lock can be taken, and is released at once:
// it fails while that takes longer than within, as in a deadlock. Zero means
// DefaultTimeout; negative is an error. To a [sync.RWMutex] give its RLocker, since
// one that waits for the lock itself holds up all readers. The error wraps
// ErrInvalid.
func (r *Registry) AddLock(name string, l sync.Locker, within time.Duration) error {
	c := Check{Name: name, Timeout: within}
	if l != nil {
		c.Func = func(context.Context) error {
			l.Lock()
			defer l.Unlock()
			return nil
		}
	}
	return r.add(liveness, c)
}

func ownCheck(name string, f func() error) Check {
	c := Check{Name: name}
	if f != nil {
		c.Func = func(context.Context) error { return f() }
	}
	return c
}

func (r *Registry) add(k kind, checks ...Check) error {
	added := make([]*check, len(checks))
	for i, c := range checks {
		if c.Name == "" {
			return fmt.Errorf("%w: a %v check has no name", ErrInvalid, k)
		}
		if err := c.valid(); err != nil {
			return fmt.Errorf("%w: %v check %q %w", ErrInvalid, k, c.Name, err)
		}
		c.fill()
		c.DependsOn = slices.Clone(c.DependsOn)
		added[i] = &check{Check: c, kind: k}
	}
	return r.register(added)
}

// register adds checks whose fields are valid, all or none.
func (r *Registry) register(added []*check) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, taken := r.checks.with(added)
	if taken != nil {
		return fmt.Errorf("%w: there is a %v check %q already", ErrInvalid, taken.kind, taken.Name)
	}
	order, err := orderOf(added, all)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	now := time.Now()
	for _, c := range order {
		c.tooLate = r.retiredLocked(c)
		c.connect(all)
		c.known.Store(&result{expires: c.firstExpires(now)})
		c.next = now
		if c.beat != nil && r.phase.down {
			c.beat.freeze(now)
		}
	}
	r.checks, r.order = all, append(r.order, order...)
	for _, c := range order {
		if c.TTL > 0 {
			r.onDemand = append(r.onDemand, c)
		}
	}
	r.settleAllLocked(order, now)
	r.replaceLocked(r.snapshot().with(order, all, now), now)
	r.wakeLocked()
	return nil
}

// orderOf returns the checks that are added with dependencies before dependants,
// or an error if there is no such order. Checks that were there before depend on
// none of them.
func orderOf(added []*check, all roster) ([]*check, error) {
	nodes := make([]graph.Node, len(added))
	for i, c := range added {
		nodes[i].Name = c.Name
		for _, name := range c.DependsOn {
			if d := all.find(c.kind, name); d == nil || slices.Contains(added, d) {
				nodes[i].DependsOn = append(nodes[i].DependsOn, name)
			}
		}
	}
	if err := graph.Check(nodes); err != nil {
		return nil, err
	}
	heights := graph.Height(nodes)
	order := slices.Clone(added)
	slices.SortFunc(order, func(a, b *check) int {
		return cmp.Or(cmp.Compare(heights[a.Name], heights[b.Name]), byName(a, b))
	})
	return order, nil
}

// connect ties the check to what it depends on, which is tied already.
func (c *check) connect(all roster) {
	for _, name := range c.DependsOn {
		d := all.find(c.kind, name)
		if slices.Contains(c.deps, d) {
			continue // named twice
		}
		c.deps = append(c.deps, d)
		d.followed = true
		c.patience = max(c.patience, min(d.patience+d.verdictTime(), forever))
	}
	if c.TTL == 0 {
		c.need()
	}
}

// Started says that start-up is over, but for what is still expected. From then
// on the startup probe passes, for good, and the readiness probe follows the checks.
func (r *Registry) Started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase.started = true
	r.upLocked()
	r.publishLocked(time.Now())
}

// Shutdown turns readiness red for good, at the moment that RedAt says, whatever
// is called or recovers later. Liveness and startup go on as before; heartbeats
// are not missed any more. Readiness checks have nothing to say any more and are
// not started again: what they ask may be stopped before they are. Wherever they
// are shown they stay what they were, and turn nothing red that is not; one that
// is added later has not run. It returns when the loops of [Registry.Watch] know.
func (r *Registry) Shutdown() {
	r.shutdown()
	r.awaitWatchers()
}

func (r *Registry) shutdown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shutdownLocked(time.Now())
}

// AcceptWindowClosed says that the process accepts no new connections any more: the
// second readiness probe turns red, and the first one if it has not; a line of the
// log, the history, OnChange and Watch tell of both. It implies Shutdown,
// but waits for no loop of Watch.
func (r *Registry) AcceptWindowClosed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.shutdownLocked(now)
	if !r.phase.closed {
		r.phase.closed = true
		r.publishLocked(now)
	}
}

func (r *Registry) shutdownLocked(now time.Time) {
	if r.phase.down {
		return
	}
	s := &snapshot{phase: r.phase, checks: r.checks}
	last := *s.judge(readiness, now)
	last.until, last.ask = time.Time{}, time.Time{}
	r.phase.down, r.phase.at, r.phase.last, r.phase.redAt = true, now, &last, r.RedAt
	for c := range r.checks.all() {
		c.finishLocked() // of readiness: nothing that waits for a run waits any more
		if c.beat != nil {
			c.beat.freeze(now)
		}
	}
	r.publishLocked(now)
	r.wakeLocked()
}
