// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

var (
	markup = regexp.MustCompile(`<[^>]*>?`)
	entity = regexp.MustCompile(`^&(lt|gt|amp|#34|#39);`)

	// ours has every tag that the page may have.
	ours = regexp.MustCompile(`^<(!DOCTYPE html|html lang="en"|/html|meta (charset="utf-8"|name="viewport" content="width=device-width"|http-equiv="refresh" content="5")` +
		`|/?(title|style|h1|p|table|tr|th|td|b|g|text|svg|span)|(b|span) class=(passing|degraded|failing|skipped|unknown)` +
		`|svg viewBox="0 0 \d+ \d+" width="\d+" role=img aria-label="graph of dependencies"` +
		`|path d="[MC\d ]+"/|g transform="translate\(\d+ \d+\)"|rect class=\w+ width=\d+ height=\d+ rx=5 /|text x=8 y=22)>$`)
)

// harmless fails the test if a page has a tag that is not the page's own, or an
// ampersand that is not part of an entity.
func harmless(t *testing.T, page string) {
	t.Helper()
	for _, tag := range markup.FindAllString(page, -1) {
		assert.Regexp(t, ours, tag)
	}
	for rest := page; ; rest = rest[1:] {
		i := strings.IndexByte(rest, '&')
		if i < 0 {
			return
		}
		rest = rest[i:]
		assert.True(t, entity.MatchString(rest), "%.40q", rest)
	}
}

// Whatever stands in a name, an error, a reason or a query, the page has only the
// tags that are its own.
func TestPageIsNotInjectedInto(t *testing.T) {
	hostile := []string{
		"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", `"><svg onload=alert(1)>`, "</title><style>*{}", "</text></svg><b>",
		"' onclick=x '", "&lt;script&gt;", "<!--", "&", "<x>", "a<b",
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		before := []string(nil)
		for i, name := range hostile {
			text := hostile[(i+1)%len(hostile)]
			require.NoError(t, r.AddReadiness(probes.Check{
				Name: name, DependsOn: before, Optional: i%2 == 0,
				Func: func(context.Context) error { return errors.New(text) },
			}))
			require.NoError(t, r.AddLiveness(name, func() error { return errors.New(text) }))
			before = []string{name}
			if i%3 == 0 {
				before = nil
			}
		}
		r.run()
		time.Sleep(time.Second)
		synctest.Wait()
		h := r.Handler()
		query := url.Values{"format": {"html"}, "exclude": {hostile[3], "<none>", `"'&`}}.Encode()
		for _, target := range []string{"/", "/readyz?" + query, "/livez?format=html", "/servingz?format=html", "/readyz/" + url.PathEscape(hostile[0]) + "?format=html"} {
			w := request(h, http.MethodGet, target)
			require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"), target)
			harmless(t, w.Body.String())
			assert.Contains(t, w.Body.String(), "&lt;img src=x onerror=alert(1)&gt;", target)
		}
		assert.Contains(t, request(h, http.MethodGet, "/readyz?"+query).Body.String(), "there is no such check to exclude: &lt;none&gt;, ")

		for _, reason := range hostile {
			r.Maintain(reason, time.Hour)
			w := request(h, http.MethodGet, "/")
			harmless(t, w.Body.String())
			assert.Contains(t, w.Body.String(), "<p>Maintenance: ")
		}
		r.end()
	})

	t.Run("steps", func(t *testing.T) {
		var r probes.Registry
		for _, name := range hostile {
			_, err := r.Expect(name)
			require.NoError(t, err)
		}
		w := request(r.Handler(), http.MethodGet, "/startupz?format=html")
		harmless(t, w.Body.String())
		assert.Equal(t, 1+len(hostile), strings.Count(w.Body.String(), "<tr>"))
	})
}

// What keeps a browser from running or keeping anything, wherever the page is.
func TestHeadersOfThePage(t *testing.T) {
	var r probes.Registry
	html := http.Header{"Accept": {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}}
	for _, tt := range []struct {
		name   string
		h      http.Handler
		target string
		header http.Header
		code   int
	}{
		{"on a listener of its own", r.Handler(), "/", nil, http.StatusOK},
		{"by the query", r.Handler(), "/readyz?format=html", nil, http.StatusServiceUnavailable},
		{"by Accept", r.Handler(), "/readyz", html, http.StatusServiceUnavailable},
		{"of another probe", r.Handler(), "/livez?format=html", nil, http.StatusOK},
		{"on the mux of the service", mounted(&r), "/readyz?format=html", nil, http.StatusServiceUnavailable},
		{"on the mux of the service, by Accept", mounted(&r), "/startupz", html, http.StatusServiceUnavailable},
		{"alone", r.ServingHandler(), "/servingz?format=html", nil, http.StatusServiceUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodGet, tt.target, nil)
			maps.Copy(req.Header, tt.header)
			w := httptest.NewRecorder()
			tt.h.ServeHTTP(w, req)
			assert.Equal(t, tt.code, w.Code)
			assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
			assert.Equal(t, "default-src 'none'; style-src 'unsafe-inline'", w.Header().Get("Content-Security-Policy"))
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			harmless(t, w.Body.String())
		})
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
