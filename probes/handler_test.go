// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// sick runs a registry with a check of every sort, and calls f.
func sick(t *testing.T, f func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "db", Func: fail},
			probes.Check{Name: "orders", DependsOn: []string{"db"}, Func: pass},
			probes.Check{Name: "cache", Optional: true, Func: fail},
			probes.Check{Name: "slow", Optional: true, Func: func(ctx context.Context) error { <-ctx.Done(); return nil }},
			probes.Check{Name: "odd", Optional: true, Func: func(context.Context) error { panic("hunter2") }},
			probes.Check{Name: "a/b c/é", Func: pass},
		))
		require.NoError(t, r.AddLiveness("db", func() error { return nil }))
		r.run()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f(r)
		r.end()
	})
}

const (
	sickLine = "not ready: db; skipped: orders\n"
	sickText = sickLine + `[+]a/b c/é ok
[~]cache degraded: reason withheld
[-]db failed: reason withheld
[~]odd degraded: panicked
[-]orders failed: skipped because of db
[~]slow degraded: timed out after 1s
`
)

func TestVerbose(t *testing.T) {
	sick(t, func(r *rig) {
		stranger := func(target string) string {
			w := httptest.NewRecorder()
			r.ReadyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
			return w.Body.String()
		}
		for _, target := range []string{"/readyz?verbose", "/readyz?verbose=1", "/readyz?x&verbose=yes&%zz", "/readyz/?verbose"} {
			assert.Equal(t, sickText, stranger(target), target)
		}
		for _, target := range []string{"/readyz", "/readyz?", "/readyz?verbose=false", "/readyz?verbose=0", "/readyz?x=1", "/readyz/"} {
			assert.Equal(t, sickLine, stranger(target), target)
		}
		w := request(r.ReadyHandler(), http.MethodGet, "/readyz?verbose")
		assert.Contains(t, w.Body.String(), "[-]db failed: connection refused (password=hunter2)\n", "to this host")
		assert.Contains(t, w.Body.String(), "[~]odd degraded: panic: hunter2\n")
		assert.Equal(t, "ok\n[+]db ok\n", request(r.LiveHandler(), http.MethodGet, "/livez?verbose").Body.String())
	})
}

func TestNoErrorTextWithoutPermission(t *testing.T) {
	sick(t, func(r *rig) {
		for _, path := range []string{"/readyz", "/readyz/db", "/readyz/cache", "/readyz/odd", "/servingz/db", "/startupz"} {
			for _, query := range []string{"", "?verbose", "?format=json", "?format=json&verbose", "?format=html", "?exclude=orders&verbose"} {
				for name, change := range map[string]func(*http.Request){
					"stranger": func(*http.Request) {},
					"proxy": func(req *http.Request) {
						req.RemoteAddr = "127.0.0.1:1"
						req.Header.Set("X-Forwarded-For", "192.0.2.1")
					},
					"bad":  func(req *http.Request) { req.RemoteAddr = "127.0.0.1" },
					"none": func(req *http.Request) { req.RemoteAddr = "" },
				} {
					mux := http.NewServeMux()
					r.Mount(mux)
					w := httptest.NewRecorder()
					req := httptest.NewRequest(http.MethodGet, path+query, nil)
					req.Host = "localhost"
					change(req)
					mux.ServeHTTP(w, req)
					assert.NotContains(t, w.Body.String(), "hunter2", "%s %s%s", name, path, query)
				}
			}
		}
	})
}

func TestDetails(t *testing.T) {
	for name, tt := range map[string]struct {
		details func(*http.Request) bool
		own     bool
		addr    string
		want    bool
	}{
		"loopback":                   {nil, false, "127.0.0.1:1", true},
		"loopback of IPv6":           {nil, false, "[::1]:1", true},
		"stranger":                   {nil, false, "192.0.2.1:1", false},
		"own listener":               {nil, true, "192.0.2.1:1", true},
		"hook says yes":              {func(*http.Request) bool { return true }, false, "192.0.2.1:1", true},
		"hook says no":               {func(*http.Request) bool { return false }, true, "127.0.0.1:1", false},
		"hook panics":                {func(*http.Request) bool { panic("odd") }, true, "127.0.0.1:1", false},
		"hook looks at what it gets": {func(r *http.Request) bool { return r.URL.Path == "/readyz" }, false, "192.0.2.1:1", true},
	} {
		t.Run(name, func(t *testing.T) {
			sick(t, func(r *rig) {
				r.Details = tt.details
				h := r.ReadyHandler()
				if tt.own {
					h = r.Handler()
				}
				w := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil)
				req.RemoteAddr, req.Host = tt.addr, "localhost"
				h.ServeHTTP(w, req)
				assert.Equal(t, http.StatusServiceUnavailable, w.Code)
				assert.Equal(t, tt.want, strings.Contains(w.Body.String(), "hunter2"))
			})
		})
	}
}

func TestHeadersOfProxiesWithholdDetails(t *testing.T) {
	sick(t, func(r *rig) {
		for _, header := range []string{"", "Accept-Language", "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
			"X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Envoy-External-Address", "X-Original-Forwarded-For"} {
			req := httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil)
			req.RemoteAddr, req.Host = "127.0.0.1:4711", "localhost:8080"
			if header != "" {
				req.Header.Set(header, "203.0.113.9")
			}
			w := httptest.NewRecorder()
			r.ReadyHandler().ServeHTTP(w, req)
			assert.Equal(t, header == "" || header == "Accept-Language", strings.Contains(w.Body.String(), "hunter2"), header)
		}
	})
}

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

func TestExclude(t *testing.T) {
	sick(t, func(r *rig) {
		for query, want := range map[string]string{
			"exclude=db":                              "503 not ready: db; skipped: orders\nexcluded: db\n", // still the cause
			"exclude=orders":                          "503 not ready: db\nexcluded: orders\n",
			"exclude=db&exclude=orders":               "200 ok, degraded: cache, odd, slow\nexcluded: db, orders\n",
			"exclude=db&exclude=orders&exclude=cache": "200 ok, degraded: odd, slow\nexcluded: cache, db, orders\n",
			"exclude=":                                "503 " + sickLine,
			"exclude":                                 "503 " + sickLine,
			"exclude=x&exclude=orders&exclude=y%0Aok":   "503 not ready: db\nwarning: there is no such check to exclude: x, \"y\\nok\"\nexcluded: orders\n",
			"exclude=" + strings.Repeat("x", 100<<10):   "503 " + sickLine + "warning: there is no such check to exclude: " + strings.Repeat("x", 120) + "...\n",
			strings.Repeat("exclude=z&", 100) + "x":     "503 " + sickLine + "warning: there is no such check to exclude: " + strings.Repeat("z, ", 99) + "z\n",
			"exclude=db&exclude=orders&verbose&x=%zz&&": "200 ok, degraded: cache, odd, slow\nexcluded: db, orders\n[+]a/b c/é ok\n[~]cache degraded: connection refused (password=hunter2)\n[ ]db excluded\n[~]odd degraded: panic: hunter2\n[ ]orders excluded\n[~]slow degraded: timed out after 1s\n",
		} {
			w := request(r.ReadyHandler(), http.MethodGet, "/readyz?"+query)
			assert.Equal(t, want, fmt.Sprintf("%d %s", w.Code, w.Body), query)
		}
		assert.Equal(t, "503 "+sickLine, r.readyz(), "what one prober leaves out does not change what others get")
	})
}

func TestJSON(t *testing.T) {
	sick(t, func(r *rig) {
		w := request(r.ReadyHandler(), http.MethodGet, "/readyz?format=json")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
		assert.JSONEq(t, `{"status":"fail","description":"readiness","output":"not ready: db; skipped: orders"}`, w.Body.String())

		w = request(r.ReadyHandler(), http.MethodGet, "/readyz?format=json&verbose&exclude=cache&exclude=x")
		var got struct {
			Status string
			Notes  []string
			Checks map[string][]map[string]any
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, []string{"there is no such check to exclude: x", "excluded: cache"}, got.Notes)
		require.Len(t, got.Checks, 6)
		assert.Equal(t, map[string]any{
			"componentId": "orders", "status": "fail", "state": "skipped", "importance": "critical",
			"output": "skipped because of db", "dependsOn": []any{"db"}, "causes": []any{"db"},
		}, got.Checks["orders"][0])
		assert.Equal(t, map[string]any{
			"componentId": "slow", "status": "warn", "state": "failing", "importance": "optional",
			"output": "timed out after 1s", "observedValue": 1000.0, "observedUnit": "ms", "time": "2000-01-01T00:00:01Z",
		}, inUTC(t, got.Checks["slow"][0]))
		assert.Equal(t, true, got.Checks["cache"][0]["excluded"])
		assert.Equal(t, "pass", got.Checks["a/b c/é"][0]["status"])
		assert.NotContains(t, got.Checks["a/b c/é"][0], "output")
		assert.JSONEq(t, `{"status":"pass","description":"liveness"}`, request(r.LiveHandler(), http.MethodGet, "/livez?format=json").Body.String())
	})
}

func inUTC(t *testing.T, part map[string]any) map[string]any {
	at, err := time.Parse(time.RFC3339Nano, part["time"].(string))
	require.NoError(t, err)
	part["time"] = at.UTC().Format(time.RFC3339Nano)
	return part
}

func TestFormats(t *testing.T) {
	const text, health, page = "text/plain; charset=utf-8", "application/health+json", "text/html; charset=utf-8"
	r := new(probes.Registry)
	for _, tt := range []struct{ query, accept, want string }{
		{"", "", text},
		{"", "*/*", text},
		{"", "text/plain", text},
		{"", "application/json", health},
		{"", "application/health+json", health},
		{"", "Application/Health+JSON; q=0.9, text/*;q=0.8", health},
		{"", "text/plain, application/json", text},
		{"", "text/plain;q=0.5, application/json;q=0.6", health},
		{"", "application/json;q=0", text},
		{"", "application/json;q=NaN", text},
		{"", "application/json;q=2", text},
		{"", "image/png", text},
		{"", ";;,,;q=,q", text},
		{"", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page},
		{"?format=json", "text/html", health},
		{"?format=text", "text/html", text},
		{"?format=html", "", page},
		{"?format=yaml", "", text},
		{"?format=yaml", "application/json", health},
	} {
		req := httptest.NewRequest(http.MethodGet, "/readyz"+tt.query, nil)
		if tt.accept != "" {
			req.Header.Set("Accept", tt.accept)
		}
		w := httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, req)
		assert.Equal(t, tt.want, w.Header().Get("Content-Type"), "%+v", tt)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		assert.Equal(t, fmt.Sprint(w.Body.Len()), w.Header().Get("Content-Length"))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	}
}

func TestPage(t *testing.T) {
	sick(t, func(r *rig) {
		require.NoError(t, r.AddReadiness(probes.Check{Name: `<script>"&'`, Func: fail, DependsOn: []string{"orders"}}))
		w := request(r.Handler(), http.MethodGet, "/")
		assert.Equal(t, http.StatusOK, w.Code, "a page for people, whatever it says")
		assert.Equal(t, "default-src 'none'; style-src 'unsafe-inline'", w.Header().Get("Content-Security-Policy"))
		got := w.Body.String()
		for _, want := range []string{
			"<h1>readiness: not ready: db; skipped: &lt;script&gt;&#34;&amp;&#39;, orders</h1>",
			"<b class=passing>live</b>", "<b class=failing>not ready</b>", "<b class=passing>started</b>",
			"<title>db: failing</title><rect class=failing", "<title>orders: skipped</title><rect class=skipped",
			"<title>a/b c/é: passing</title><rect class=passing", "<title>cache: failing</title><rect class=degraded",
			"connection refused (password=hunter2)", "skipped because of db", "<path d=",
		} {
			assert.Contains(t, got, want)
		}
		assert.NotContains(t, got, "<script")
		assert.NotContains(t, got, "http:")
		assert.Equal(t, 2, strings.Count(got, "<path d="), "an edge for each dependency")

		w = httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz?format=html", nil))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.NotContains(t, w.Body.String(), "changed", "strangers do not see the history")
	})
}

// The drawing is well-formed, and no box lies on another.
func TestGraph(t *testing.T) {
	r := new(probes.Registry)
	var checks []probes.Check
	for i := range 30 {
		c := probes.Check{Name: fmt.Sprint(i), Func: pass}
		for j := i / 2; j < i; j += 7 {
			c.DependsOn = append(c.DependsOn, fmt.Sprint(j))
		}
		checks = append(checks, c)
	}
	require.NoError(t, r.AddReadiness(checks...))
	got := request(r.Handler(), http.MethodGet, "/").Body.String()
	svg := got[strings.Index(got, "<svg") : strings.Index(got, "</svg>")+len("</svg>")]
	d := xml.NewDecoder(strings.NewReader(svg))
	d.Strict = false
	places := make(map[string]bool)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "g" {
			assert.False(t, places[e.Attr[0].Value], e.Attr[0].Value)
			places[e.Attr[0].Value] = true
		}
	}
	assert.Len(t, places, 30)
}

func TestCodes(t *testing.T) {
	for _, tt := range []struct{ failure, off, failing, shut int }{
		{0, 0, 503, 503},
		{500, 0, 500, 500},
		{0, 404, 503, 404},
		{429, 404, 429, 404},
		{200, 302, 503, 503},
		{-1, 600, 503, 503},
	} {
		r := &probes.Registry{FailureCode: tt.failure, OffCode: tt.off}
		assert.Equal(t, tt.failing, request(r.Handler(), "GET", "/readyz").Code, "starting")
		r.Started()
		assert.Equal(t, 200, request(r.Handler(), "GET", "/readyz").Code)
		r.Maintain("", 0)
		assert.Equal(t, tt.shut, request(r.Handler(), "GET", "/readyz").Code)
		assert.Equal(t, tt.shut, request(r.Handler(), "GET", "/readyz?verbose").Code)
		r.Shutdown()
		assert.Equal(t, tt.shut, request(r.Handler(), "HEAD", "/readyz").Code)
		assert.Equal(t, 200, request(r.Handler(), "GET", "/livez").Code)
	}
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

func TestBoundedUnlessAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		long := strings.Repeat("x", 2<<20)
		for i := range 1000 {
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: fmt.Sprintf("check/é-%04d", i), Func: func(context.Context) error { return errors.New(long) }},
				probes.Check{Name: fmt.Sprintf("child-%04d", i), Func: pass, DependsOn: []string{fmt.Sprintf("check/é-%04d", i)}},
			))
		}
		name := strings.Repeat("ü", 5<<10) // 10 kB
		require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: fail}))
		r.Logger = nil
		r.OnChange = func(probes.Change) {}
		assert.Less(t, len(r.readyz()), 10<<10)
		w := request(r.ReadyHandler(), http.MethodGet, "/readyz/"+url.PathEscape(name))
		assert.Equal(t, "not ready: "+name[:120]+"...\n", w.Body.String())
		for _, query := range []string{"?format=json", "?exclude=" + strings.Repeat("y", 100<<10), "?" + strings.Repeat("exclude=zz&", 10000)} {
			w := request(r.ReadyHandler(), http.MethodGet, "/readyz"+query)
			assert.Less(t, w.Body.Len(), 10<<10)
		}
	})
}

func TestErrorTextIsOneLineAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("db", func(context.Context) error { return errors.New("a\r\nb\x00\xff\u0085" + strings.Repeat("c", 2<<20)) })
		r.run()
		got := request(r.ReadyHandler(), http.MethodGet, "/readyz?verbose").Body.String()
		assert.True(t, strings.HasPrefix(got, "not ready: db\n[-]db failed: a  b ? ccc"), got[:40])
		assert.Equal(t, 2, strings.Count(got, "\n"))
		assert.Less(t, len(got), 2<<10)
		assert.Less(t, len(r.History()[len(r.History())-1].Reason), 2<<10)
		r.end()
	})
}

// A client that goes away, over a real connection, changes nothing and leaves
// nothing behind; goleak looks.
func TestClientThatGoesAway(t *testing.T) {
	r := new(probes.Registry)
	r.Started()
	asked, release := make(chan struct{}, 1), make(chan struct{})
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", TTL: time.Minute, Func: func(context.Context) error {
		asked <- struct{}{}
		<-release
		return nil
	}}))
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.ReadyHandler().ServeHTTP(w, req)
		if req.Header.Get("X-Goes") != "" {
			close(gone)
		}
	}))
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: x\r\nX-Goes: 1\r\n\r\n")
	require.NoError(t, err)
	<-asked
	conn.Close()
	<-gone // though the check has not returned
	close(release)
	resp, err := srv.Client().Get(srv.URL + "/readyz")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	srv.Close()
	cancel()
	require.NoError(t, <-ran)
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
