// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Header values are shared by all answers, so that setting them allocates
// nothing. A handler that comes after may replace or append to them.
var (
	noStore   = []string{"no-store"}
	plainText = []string{"text/plain; charset=utf-8"}
	noSniff   = []string{"nosniff"}
	allowed   = []string{"GET, HEAD"}
)

// Mount mounts the probes at their paths, and beneath them, on whatever has the
// method Handle: for GET and HEAD on an [*http.ServeMux], and on other routers,
// such as a chi.Router, in chi's manner: as /livez, /livez/ and /livez/*. On a
// ServeMux a slash in the name of a check is to be escaped, as
// /readyz/a%2Fb; so the patterns do not conflict with "GET /" or "/{a}/{b}".
//
// Under a prefix there are two ways: Prefix, and mounting on a router that is
// mounted there itself.
func (r *Registry) Mount(m interface {
	Handle(pattern string, h http.Handler)
}) {
	method, patterns := "", []string{"", "/", "/*"}
	if _, std := m.(interface {
		Handler(*http.Request) (http.Handler, string)
	}); std {
		method, patterns = "GET ", []string{"", "/{$}", "/{check}"} // GET is HEAD, too
	}
	for _, h := range r.handlers(false) {
		for _, pattern := range patterns {
			m.Handle(method+h.path+pattern, h)
		}
	}
}

// Handler returns a handler of all the probes for a listener of their own, which
// is to be closed last. Whoever reaches it may see the text of errors, unless
// Details says otherwise; on the router of the service Mount is the one to use. At /
// it has the status page.
func (r *Registry) Handler() http.Handler {
	return &listenerHandler{
		probes: r.handlers(true),
		page:   &handler{registry: r, kind: readiness, own: true, page: true},
	}
}

// LiveHandler returns the handler of the liveness probe, to be mounted anywhere. In
// the path of a request the name of a check follows LivePath, if that is there.
func (r *Registry) LiveHandler() http.Handler { return r.handler(liveness, false) }

// ReadyHandler is as LiveHandler, for the readiness probe.
func (r *Registry) ReadyHandler() http.Handler { return r.handler(readiness, false) }

// StartupHandler is as LiveHandler, for the startup probe.
func (r *Registry) StartupHandler() http.Handler { return r.handler(startup, false) }

// ServingHandler is as LiveHandler, for the second readiness probe.
func (r *Registry) ServingHandler() http.Handler { return r.handler(serving, false) }

// handler returns the handler of a probe.
func (r *Registry) handler(k kind, own bool) *handler {
	path := [kinds]string{
		liveness:  cmp.Or(r.LivePath, "/livez"),
		readiness: cmp.Or(r.ReadyPath, "/readyz"),
		startup:   cmp.Or(r.StartupPath, "/startupz"),
		serving:   cmp.Or(r.ServingPath, "/servingz"),
	}[k]
	return &handler{registry: r, kind: k, own: own, path: r.Prefix + path, beneath: path + "/"}
}

// handlers returns those that have a path, the longest first: one may be beneath
// another. It panics where a mux would, and where it would not, alike.
func (r *Registry) handlers(own bool) []*handler {
	var all []*handler
	for k := range kinds {
		h := r.handler(k, own)
		switch {
		case h.path == r.Prefix+"-":
			continue
		case h.path[0] != '/' || strings.HasSuffix(h.path, "/") || strings.Contains(h.path, "//"):
			panic(fmt.Sprintf("probes: the path %q of the %v probe: Prefix and path begin with a slash and end without", h.path, k))
		case strings.ContainsAny(h.path, "{} ?#"):
			panic(fmt.Sprintf("probes: the path %q of the %v probe: it is no pattern, and has no query", h.path, k))
		}
		for _, other := range all {
			if other.path == h.path {
				panic(fmt.Sprintf("probes: the %v and %v probes have one path, %q", other.kind, k, h.path))
			}
		}
		all = append(all, h)
	}
	slices.SortStableFunc(all, func(a, b *handler) int { return len(b.path) - len(a.path) })
	return all
}

// A listenerHandler has all probes. It never redirects, as a mux may: a prober
// would follow, or take it for a success.
type listenerHandler struct {
	probes []*handler
	page   *handler
}

func (l *listenerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	for _, h := range l.probes {
		if rest, ok := strings.CutPrefix(path, h.path); ok && (rest == "" || rest[0] == '/') {
			h.ServeHTTP(w, r)
			return
		}
	}
	if path == "/" {
		l.page.ServeHTTP(w, r)
		return
	}
	respond(w, r, http.StatusNotFound, plainText, []byte("no such probe\n"))
}

// A handler answers one kind of probe.
type handler struct {
	registry *Registry
	kind     kind
	own      bool   // on a listener of the probes alone
	page     bool   // the status page, whatever is asked for
	path     string // where it is mounted
	beneath  string // what comes before the name of a check, wherever it is
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = allowed
		respond(w, r, http.StatusMethodNotAllowed, plainText, []byte("method not allowed\n"))
		return
	}
	simple := h.simple(r)
	current := h.registry.snapshot()
	v := current.verdict(h.kind)
	ask := v.ask
	if !simple {
		ask = current.asks(h.kind)
	}
	if !ask.IsZero() && time.Since(ask) >= 0 {
		name, exclude := "", []string(nil)
		if !simple {
			name, exclude = h.name(r), parse(r).exclude
		}
		h.registry.demand(r.Context(), h.kind, name, exclude)
		v = h.registry.snapshot().verdict(h.kind)
	}
	if !simple {
		h.explain(w, r)
		return
	}
	header := w.Header()
	header["Cache-Control"] = noStore
	header["Content-Type"] = plainText
	header["X-Content-Type-Options"] = noSniff
	header["Content-Length"] = v.plain.length
	w.WriteHeader(h.registry.code(v))
	if r.Method == http.MethodGet {
		w.Write(v.plain.body)
	}
}

// simple reports whether the plain answer will do, which is what probers want.
func (h *handler) simple(r *http.Request) bool {
	accept := r.Header["Accept"]
	return r.URL.RawQuery == "" && !h.page &&
		(len(accept) == 0 || len(accept) == 1 && accept[0] == "*/*") &&
		(r.URL.Path == h.path || len(r.URL.Path) < len(h.beneath) || !strings.Contains(r.URL.Path, h.beneath))
}

// respond writes an answer that is not prepared, in one write.
func respond(w http.ResponseWriter, r *http.Request, code int, contentType []string, body []byte) {
	header := w.Header()
	header["Cache-Control"] = noStore
	header["Content-Type"] = contentType
	header["X-Content-Type-Options"] = noSniff
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// name returns the name of the check or step that is asked for, and "" for all.
func (h *handler) name(r *http.Request) string {
	if h.page {
		return ""
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, h.path); ok && (rest == "" || rest[0] == '/') {
		return strings.TrimPrefix(rest, "/")
	}
	_, name, _ := strings.Cut(r.URL.Path, h.beneath) // on a router that is mounted somewhere itself
	return name
}

// explain answers what is not simple: with a format, a name, verbose or exclude.
func (h *handler) explain(w http.ResponseWriter, r *http.Request) {
	q := parse(r)
	s := h.registry.snapshot()
	rep := s.report(h.kind, time.Now(), h.name(r), q.exclude)
	if rep == nil {
		respond(w, r, http.StatusNotFound, plainText, []byte("no such check\n"))
		return
	}
	rep.allowed = (q.verbose || q.format != formatText || h.page) && h.details(r)
	code := h.registry.code(rep.verdict)
	switch {
	case h.page:
		header := w.Header()
		header["Content-Security-Policy"] = pagePolicy
		respond(w, r, http.StatusOK, pageType, rep.page(h.registry))
	case q.format == formatPage:
		header := w.Header()
		header["Content-Security-Policy"] = pagePolicy
		respond(w, r, code, pageType, rep.page(h.registry))
	case q.format == formatJSON:
		respond(w, r, code, jsonType, rep.json(q.verbose))
	default:
		respond(w, r, code, plainText, rep.text(q.verbose))
	}
}

// details reports whether the caller may see the text of errors.
func (h *handler) details(r *http.Request) (yes bool) {
	if h.registry.Details == nil {
		return h.own && !isRebound(r) || !h.own && isLocal(r)
	}
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return h.registry.Details(r)
}
