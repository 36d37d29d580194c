// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import "net/http"

// Header values are shared by all answers, so that setting them allocates
// nothing. A handler that comes after may replace or append to them.
var (
	noStore   = []string{"no-store"}
	plainText = []string{"text/plain; charset=utf-8"}
	noSniff   = []string{"nosniff"}
	allowed   = []string{"GET, HEAD"}
)

var notAllowed = newAnswer(http.StatusMethodNotAllowed, "method not allowed\n")

// A handler answers one kind of probe.
type handler struct {
	registry *Registry
	kind     kind
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.answer().write(w, true)
	case http.MethodHead:
		h.answer().write(w, false)
	default:
		w.Header()["Allow"] = allowed
		notAllowed.write(w, true)
	}
}

func (h *handler) answer() *answer {
	s := h.registry.current.Load()
	if s == nil {
		s = &initial
	}
	return s[h.kind].answer()
}

func (a *answer) write(w http.ResponseWriter, body bool) {
	header := w.Header()
	header["Cache-Control"] = noStore
	header["Content-Type"] = plainText
	header["X-Content-Type-Options"] = noSniff
	header["Content-Length"] = a.length
	w.WriteHeader(a.code)
	if body {
		w.Write(a.body)
	}
}
