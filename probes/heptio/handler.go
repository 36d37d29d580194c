// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes"
)

// patience is how long after a check is added a probe waits for its first result,
// which healthcheck would have got by running it. The kubelet waits for a second.
const patience = 500 * time.Millisecond

// NewHandler returns a Handler that serves /live and /ready from r, and adds its
// checks to r with the default timeout and interval. /ready includes the liveness
// checks. A check that is added under a name that is taken replaces the one
// before it from the next run on; one that r refuses panics, because the methods
// return no error. Calling r's Run, Started and Shutdown remains the caller's task.
//
// Nil means a new registry that is started at once and runs for the life of the
// process, as a Handler of healthcheck does.
//
// A probe waits for the first result of a check that was added less than half a
// second ago, since healthcheck would run it. After that probes are answered from
// memory.
func NewHandler(r *probes.Registry) healthcheck.Handler {
	if r == nil {
		r = new(probes.Registry)
		r.Started()
		go runForLife(r)
	}
	h := &handler{
		registry: r,
		live:     &group{name: "liveness", status: live(r), entries: make(map[string]*entry)},
		ready:    &group{name: "readiness", status: ready(r), entries: make(map[string]*entry)},
	}
	h.mux.HandleFunc("/live", h.LiveEndpoint)
	h.mux.HandleFunc("/ready", h.ReadyEndpoint)
	return h
}

// runForLife is the owner of a registry that nobody else has.
func runForLife(r *probes.Registry) {
	r.Run(context.Background())
}

// A status is what the registry says of a group.
type status struct {
	passes  bool
	reason  string // if it does not
	retired bool   // its checks are not run any more
}

// live returns what asks r whether it is live.
func live(r *probes.Registry) func() status {
	return func() status { return status{passes: r.Status().Live, reason: "not live"} }
}

func ready(r *probes.Registry) func() status {
	return func() status {
		s := r.Status()
		return status{passes: s.Ready, reason: s.Reason, retired: s.ShuttingDown}
	}
}

// A handler is a healthcheck.Handler on a registry.
type handler struct {
	registry    *probes.Registry
	live, ready *group
	mux         http.ServeMux
}

func (h *handler) AddLivenessCheck(name string, c healthcheck.Check) {
	err := h.live.add(name, c, func(run healthcheck.Check) error {
		return h.registry.AddLiveness(name, run)
	})
	if err != nil {
		panic("heptio: AddLivenessCheck: " + err.Error())
	}
}

func (h *handler) AddReadinessCheck(name string, c healthcheck.Check) {
	err := h.ready.add(name, c, func(run healthcheck.Check) error {
		return h.registry.AddReadiness(probes.Check{Name: name, Func: Check(run)})
	})
	if err != nil {
		panic("heptio: AddReadinessCheck: " + err.Error())
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request)    { h.mux.ServeHTTP(w, r) }
func (h *handler) LiveEndpoint(w http.ResponseWriter, r *http.Request) { answer(w, r, h.live) }

func (h *handler) ReadyEndpoint(w http.ResponseWriter, r *http.Request) {
	answer(w, r, h.ready, h.live)
}

// answer answers as healthcheck does.
func answer(w http.ResponseWriter, r *http.Request, groups ...*group) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	status := http.StatusOK
	var results map[string]string // nil unless it is asked for
	if r.Method == http.MethodGet && r.URL.RawQuery != "" && r.URL.Query().Get("full") == "1" {
		results = make(map[string]string)
	}
	for _, g := range groups {
		g.settle(r.Context())
		if !g.report(results) {
			status = http.StatusServiceUnavailable
		}
	}
	w.Header()["Content-Type"] = contentType
	w.WriteHeader(status)
	switch {
	case results != nil:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "    ")
		encoder.Encode(results)
	case r.Method == http.MethodGet:
		w.Write(empty)
	}
}

// Shared by all answers, so that they allocate nothing.
var (
	contentType = []string{"application/json; charset=utf-8"}
	empty       = []byte("{}\n")
)

// A group has the checks of one kind.
type group struct {
	name   string
	status func() status // of the registry

	adding  sync.Mutex // held by the one call of add
	mu      sync.Mutex // guards what follows; nothing is called out to under it
	entries map[string]*entry
	settled time.Time // when to wait for first results no longer
}

// add adds c, or has it replace the one of that name.
func (g *group) add(name string, c healthcheck.Check, register func(healthcheck.Check) error) error {
	g.adding.Lock()
	defer g.adding.Unlock()
	g.mu.Lock()
	e := g.entries[name]
	if c != nil && e != nil {
		*e = entry{check: c, version: e.version + 1}
		g.settled = time.Now().Add(patience)
		g.mu.Unlock()
		return nil
	}
	g.mu.Unlock()

	e = &entry{check: c}
	run := func() error { return g.run(e) }
	if c == nil {
		run = nil // for the registry to refuse
	}
	if err := register(run); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entries[name] = e
	g.settled = time.Now().Add(patience)
	return nil
}

// run runs the check of e and keeps the result, for ?full=1.
func (g *group) run(e *entry) (err error) {
	g.mu.Lock()
	check, version := e.check, e.version
	e.began, e.running = time.Now(), true
	g.mu.Unlock()
	err = errBroken // what a panic or a Goexit leaves here
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if version == e.version {
			e.end(time.Now(), err)
		}
	}()
	err = check()
	return err
}

// settle waits for the first results of checks that have just been added, and
// until the registry has taken them.
func (g *group) settle(ctx context.Context) {
	for g.unsettled() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *group) unsettled() bool {
	s := g.status()
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !now.Before(g.settled) {
		return false
	}
	failing := false
	for _, e := range g.entries {
		if !e.ran {
			return true
		}
		failing = failing || e.failure(now, s) != nil
	}
	return s.passes == failing
}

// report reports whether all is well, and adds what the checks say to results
// unless that is nil.
func (g *group) report(results map[string]string) bool {
	s := g.status()
	if results == nil {
		return s.passes
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	failing, now := false, time.Now()
	for name, e := range g.entries {
		err := e.failure(now, s)
		switch {
		case err != nil:
			results[name] = err.Error()
		case results[name] == "":
			results[name] = "OK"
		}
		failing = failing || err != nil
	}
	if !s.passes && !failing {
		results[g.name] = s.reason
	}
	return s.passes
}
