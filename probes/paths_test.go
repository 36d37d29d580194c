// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestSubPaths(t *testing.T) {
	sick(t, func(r *rig) {
		done, err := new(probes.Registry).Expect("x")
		require.NoError(t, err)
		done()
		for target, want := range map[string]string{
			"/readyz/db":                             "503 not ready: db\n",
			"/readyz/orders":                         "503 not ready: db; skipped: orders\n",
			"/readyz/cache":                          "200 ok, degraded: cache\n",
			"/readyz/none":                           "404 no such check\n",
			"/readyz/" + strings.Repeat("x", 10<<10): "404 no such check\n",
			"/readyz/a%2Fb%20c%2Fé":                  okBody,
			"/readyz/a%2Fb%20c%2Fé?exclude=x":        okBody,
			"/livez/db":                              okBody,
			"/servingz/db":                           "503 not ready: db\n",
			"/startupz/none":                         "404 no such check\n",
		} {
			for _, own := range []bool{false, true} {
				h := mounted(r.Registry)
				if own {
					h = r.Handler()
				}
				w := request(h, http.MethodGet, strings.ReplaceAll(target, "é", "%C3%A9"))
				assert.Equal(t, want, fmt.Sprintf("%d %s", w.Code, w.Body), target)
				w = request(h, http.MethodHead, strings.ReplaceAll(target, "é", "%C3%A9"))
				assert.Empty(t, w.Body.String())
				assert.Equal(t, fmt.Sprint(len(want)-len("200 ")), w.Header().Get("Content-Length"))
			}
		}
		for target, want := range map[string]string{"/readyz/a/b%20c/%C3%A9": okBody, "/readyz/db/": "404 no such check\n"} {
			router := chi.NewRouter()
			r.Mount(router)
			for _, h := range []http.Handler{r.Handler(), router} {
				w := request(h, http.MethodGet, target)
				assert.Equal(t, want, fmt.Sprintf("%d %s", w.Code, w.Body), target)
			}
		}
		r.Shutdown()
		for _, target := range []string{"/readyz/a%2Fb%20c%2F%C3%A9", "/readyz?exclude=db&exclude=orders", "/readyz/cache"} {
			w := request(mounted(r.Registry), http.MethodGet, target)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code, target)
			assert.True(t, strings.HasPrefix(w.Body.String(), "not ready: shutting down\n"), "for good, everywhere")
		}
	})

	t.Run("of steps", func(t *testing.T) {
		var r probes.Registry
		done, err := r.Expect("migrations")
		require.NoError(t, err)
		_, err = r.Expect("cache")
		require.NoError(t, err)
		done()
		for target, want := range map[string]string{
			"/startupz/migrations": okBody,
			"/startupz/cache":      "503 not ready: starting, missing: cache\n",
			"/startupz?verbose":    "503 not ready: starting, missing: cache\n[+]migrations ok\n[-]cache failed: not done yet\n",
		} {
			w := request(r.Handler(), http.MethodGet, target)
			assert.Equal(t, want, fmt.Sprintf("%d %s", w.Code, w.Body), target)
		}
	})
}

func mounted(r *probes.Registry) http.Handler {
	mux := http.NewServeMux()
	r.Mount(mux)
	return mux
}

func TestPathsAndMounting(t *testing.T) {
	r := &probes.Registry{Prefix: "/internal", LivePath: "/live", ReadyPath: "/ready", ServingPath: "-"}
	r.Started()
	require.NoError(t, r.AddLiveness("own", func() error { return nil }))
	router := chi.NewRouter()
	r.Mount(router)

	plain := new(probes.Registry)
	plain.Started()
	require.NoError(t, plain.AddLiveness("own", func() error { return nil }))
	outer := chi.NewRouter()
	outer.Route("/internal", func(inner chi.Router) { plain.Mount(inner) })
	stripped := http.NewServeMux()
	stripped.Handle("/internal/", http.StripPrefix("/internal", mounted(plain)))

	for name, tt := range map[string]struct {
		h    http.Handler
		want map[string]int
	}{
		"ServeMux": {mounted(r), map[string]int{"/internal/live": 200, "/internal/live/": 200, "/internal/live/own": 200, "/internal/live/x": 404, "/internal/ready": 200, "/internal/startupz": 200, "/internal/servingz": 404, "/live": 404, "/internal/livez": 404, "/internal/-": 404}},
		"chi":      {router, map[string]int{"/internal/live": 200, "/internal/live/": 200, "/internal/live/own": 200, "/internal/live/x": 404, "/internal/ready": 200, "/internal/startupz": 200, "/internal/servingz": 404, "/live": 404, "/internal/livez": 404, "/internal/-": 404}},
		"listener": {r.Handler(), map[string]int{"/internal/live": 200, "/internal/live/": 200, "/internal/live/own": 200, "/internal/live/x": 404, "/internal/ready": 200, "/internal/startupz": 200, "/internal/servingz": 404, "/live": 404, "/internal/liveness": 404, "/internal/-": 404, "//": 404, "": 404, "/": 200}},
		"route":    {outer, map[string]int{"/internal/livez": 200, "/internal/livez/own": 200, "/internal/livez/x": 404, "/internal/servingz": 200, "/livez": 404}},
		"strip":    {stripped, map[string]int{"/internal/livez": 200, "/internal/livez/own": 200, "/internal/livez/x": 404, "/internal/servingz": 200, "/livez": 404}},
	} {
		for path, code := range tt.want {
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			req.URL = &url.URL{Path: path}
			w := httptest.NewRecorder()
			tt.h.ServeHTTP(w, req)
			assert.Equal(t, code, w.Code, "%s %s", name, path)
		}
	}
}

// What a program may have on its ServeMux already.
func TestPathsBeneathPaths(t *testing.T) {
	r := &probes.Registry{LivePath: "/health", ReadyPath: "/health/ready", StartupPath: "/health/ready/up", ServingPath: "-", Prefix: "/x"}
	for _, h := range []http.Handler{r.Handler(), mounted(r)} {
		assert.Equal(t, "ok\n", request(h, http.MethodGet, "/x/health").Body.String())
		assert.Equal(t, "not ready: starting\n", request(h, http.MethodGet, "/x/health/ready").Body.String())
		assert.Equal(t, "not ready: starting\n", request(h, http.MethodGet, "/x/health/ready/up").Body.String())
		assert.Equal(t, http.StatusNotFound, request(h, http.MethodGet, "/x-").Code, "none")
	}
}

func TestBadPaths(t *testing.T) {
	for want, r := range map[string]*probes.Registry{
		`probes: the liveness and readiness probes have one path, "/h"`:                                                 {LivePath: "/h", ReadyPath: "/h"},
		`probes: the path "livez" of the liveness probe: Prefix and path begin with a slash and end without`:            {LivePath: "livez"},
		`probes: the path "/ready/" of the readiness probe: Prefix and path begin with a slash and end without`:         {ReadyPath: "/ready/"},
		`probes: the path "/internal//livez" of the liveness probe: Prefix and path begin with a slash and end without`: {Prefix: "/internal/"},
		`probes: the path "internal/livez" of the liveness probe: Prefix and path begin with a slash and end without`:   {Prefix: "internal"},
	} {
		assert.PanicsWithValue(t, want, func() { r.Handler() })
		assert.PanicsWithValue(t, want, func() { mounted(r) })
	}
}

func TestMountingBesideOtherPatterns(t *testing.T) {
	mux := http.NewServeMux()
	for _, pattern := range []string{"GET /", "GET /{tenant}/{id}", "GET /{tenant}/{id}/{rest...}", "POST /{file...}"} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	}
	var r probes.Registry
	r.Started()
	require.NotPanics(t, func() { r.Mount(mux) })
	for path, code := range map[string]int{"/readyz": 200, "/readyz/": 200, "/readyz/x": 404, "/readyz/x/y": 418, "/a/b": 418} {
		assert.Equal(t, code, request(mux, http.MethodGet, path).Code, path)
	}
	assert.Equal(t, http.StatusTeapot, request(mux, http.MethodPost, "/readyz").Code)
}

func TestPrefixThatIsThePathOfAProbe(t *testing.T) {
	r := &probes.Registry{Prefix: "/readyz"}
	require.NoError(t, r.AddReadiness(probes.Check{Name: "readyz", InitiallyPassing: true, Func: pass}))
	r.Started()
	mux := http.NewServeMux()
	r.Mount(mux)
	for _, h := range []http.Handler{mux, r.Handler()} {
		for path, want := range map[string]string{
			"/readyz/readyz":         "200 ok\n",
			"/readyz/readyz?verbose": "200 ok\n[+]readyz ok\n",
			"/readyz/readyz/":        "200 ok\n",
			"/readyz/readyz/readyz":  "200 ok\n",
			"/readyz/readyz/db":      "404 no such check\n",
		} {
			w := request(h, http.MethodGet, path)
			assert.Equal(t, want, fmt.Sprintf("%d %s", w.Code, w.Body), path)
		}
	}
}
