// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package heptio connects github.com/heptiolabs/healthcheck, both ways: its
// checks run in a [probes.Registry], and its Handler is served by one. It is a
// package of its own because importing healthcheck links the Prometheus client.
//
// Checks then run in the background, never in a request, and in one goroutine
// each at most, so healthcheck's Timeout and Async are not needed around them.
//
// What differs from healthcheck's own Handler: bodies are those of package
// probes, plain text that names what fails; HEAD is answered; /ready does not
// include the liveness checks; and ?full=1 is not there yet and is ignored.
package heptio

import (
	"context"
	"net/http"

	"github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes"
)

// Check makes a check of healthcheck one for the Func of a [probes.Check]. Theirs
// takes no context, so it goes on after its timeout until it returns by itself;
// until then it is failing, and not run a second time. Nil stays nil, which a
// registry refuses.
func Check(c healthcheck.Check) func(context.Context) error {
	if c == nil {
		return nil
	}
	return func(context.Context) error { return c() }
}

// NewHandler returns a Handler that serves /live and /ready from r, and adds its
// checks to r with the default timeout and interval. Adding a check that r
// refuses panics, because the methods return no error. Calling r's Run, Started
// and Shutdown remains the caller's task.
//
// Nil means a new registry that is started at once and runs for the life of the
// process, as a Handler of healthcheck does.
func NewHandler(r *probes.Registry) healthcheck.Handler {
	if r == nil {
		r = new(probes.Registry)
		r.Started()
		go runForLife(r)
	}
	h := &handler{registry: r, live: r.LiveHandler(), ready: r.ReadyHandler()}
	h.mux.Handle("/live", h.live)
	h.mux.Handle("/ready", h.ready)
	return h
}

// runForLife is the owner of a registry that nobody else has.
func runForLife(r *probes.Registry) {
	r.Run(context.Background())
}

// A handler is a healthcheck.Handler on a registry.
type handler struct {
	registry    *probes.Registry
	live, ready http.Handler
	mux         http.ServeMux
}

func (h *handler) AddLivenessCheck(name string, c healthcheck.Check) {
	if err := h.registry.AddLiveness(name, c); err != nil {
		panic("heptio: AddLivenessCheck: " + err.Error())
	}
}

func (h *handler) AddReadinessCheck(name string, c healthcheck.Check) {
	if err := h.registry.AddReadiness(probes.Check{Name: name, Func: Check(c)}); err != nil {
		panic("heptio: AddReadinessCheck: " + err.Error())
	}
}

func (h *handler) LiveEndpoint(w http.ResponseWriter, r *http.Request)  { h.live.ServeHTTP(w, r) }
func (h *handler) ReadyEndpoint(w http.ResponseWriter, r *http.Request) { h.ready.ServeHTTP(w, r) }
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request)     { h.mux.ServeHTTP(w, r) }
