// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"encoding/json"
	"io"
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

// Names of every sort that a check may have.
var names = []string{
	"db", "a/b", "/", "//", "a//b", "/leading", "trailing/", ".", "..", "../livez", "a/../b", "a/./b",
	"with space", " ", "é", "日本語", "🦆", "e\u0301", "\u202e", "\u2028", "\ufeff", "\ufffd",
	"%", "%2F", "%2f", "a%2Fb", "%zz", "100%", "?", "?verbose", "#", "a&b=c", "a;b", "a+b", `a\b`, `"`, "'", "<b>", "{$}", "{check}", "*", "-",
	"readyz", "/readyz/", "x/readyz/y", "livez/x", "verbose", "ok", strings.Repeat("x", 10<<10), strings.Repeat("ü/", 3<<10),
}

// escape escapes every byte that is not a letter or a digit, slashes and dots
// included.
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
		}
	}
	return b.String()
}

// Every name is found at its sub-path, escaped, over a real connection: with a
// ServeMux and with chi, alone and under a prefix of each kind.
func TestNamesInPaths(t *testing.T) {
	register := func(r *probes.Registry) *probes.Registry {
		r.Started()
		for _, name := range names {
			require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: pass, Optional: true}), name)
			require.NoError(t, r.AddLiveness(name, func() error { return nil }), name)
		}
		return r
	}
	plain, prefixed := register(new(probes.Registry)), register(&probes.Registry{Prefix: "/in/ternal"})
	onChi := func(r *probes.Registry) *chi.Mux {
		router := chi.NewRouter()
		r.Mount(router)
		return router
	}
	routed := chi.NewRouter()
	routed.Route("/in/ternal", func(inner chi.Router) { plain.Mount(inner) })
	mountedInChi := chi.NewRouter()
	mountedInChi.Mount("/in/ternal", onChi(plain))
	stripped := http.NewServeMux()
	stripped.Handle("/in/ternal/", http.StripPrefix("/in/ternal", mounted(plain)))
	alone := http.NewServeMux()
	alone.Handle("/in/ternal/readyz/{check...}", plain.ReadyHandler())
	alone.Handle("/in/ternal/livez/{check...}", plain.LiveHandler())
	alone.Handle("/in/ternal/readyz", plain.ReadyHandler())
	for name, tt := range map[string]struct {
		h      http.Handler
		prefix string
	}{
		"ServeMux":           {mounted(plain), ""},
		"chi":                {onChi(plain), ""},
		"listener":           {plain.Handler(), ""},
		"ServeMux, Prefix":   {mounted(prefixed), "/in/ternal"},
		"chi, Prefix":        {onChi(prefixed), "/in/ternal"},
		"listener, Prefix":   {prefixed.Handler(), "/in/ternal"},
		"chi, Route":         {routed, "/in/ternal"},
		"chi, Mount":         {mountedInChi, "/in/ternal"},
		"ServeMux, stripped": {stripped, "/in/ternal"},
		"handlers alone":     {alone, "/in/ternal"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tt.h)
			defer srv.Close()
			client := srv.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			ask := func(target string) (int, string) {
				resp, err := client.Get(srv.URL + tt.prefix + target)
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return resp.StatusCode, string(body)
			}
			for _, name := range names {
				code, body := ask("/readyz/" + escape(name))
				assert.Equal(t, 200, code, "%.40q", name)
				assert.True(t, strings.HasPrefix(body, "ok, degraded: "), "%.40q", name)
				code, body = ask("/livez/" + escape(name) + "?format=json&verbose")
				assert.Equal(t, 200, code, "%.40q", name)
				var got struct{ Checks map[string]any }
				assert.NoError(t, json.Unmarshal([]byte(body), &got))
				assert.Contains(t, got.Checks, name)
				code, body = ask("/readyz?" + url.Values{"exclude": {name}}.Encode())
				assert.Equal(t, 200, code, "%.40q", name)
				assert.NotContains(t, body, "warning")
			}
			for _, name := range []string{"none", "db/", "DB", "d", "a/b/", "%252F%252F", "%00", "%0A", "%FF", "a%0Ab", strings.Repeat("y", 10<<10)} {
				code, body := ask("/readyz/" + escape(name))
				assert.Equal(t, 404, code, "%.40q", name)
				assert.Equal(t, "no such check\n", body, "and says nothing of what was asked")
			}
		})
	}
}

// What cannot be printed is not a name, of any kind, and a name that is not there
// is none, whatever bytes it has.
func TestNamesThatAreNone(t *testing.T) {
	var r probes.Registry
	for _, name := range []string{"", "\n", "a\nb", "a\x00", "\x7f", "\u0085", "\xff", "a\xc3", "\t", "\x1b[2J"} {
		assert.ErrorIs(t, r.AddReadiness(probes.Check{Name: name, Func: pass}), probes.ErrInvalid, "%q", name)
		assert.ErrorIs(t, r.AddReadiness(probes.Check{Name: "ok", Func: pass, DependsOn: []string{name}}), probes.ErrInvalid, "%q", name)
		assert.ErrorIs(t, r.AddLiveness(name, func() error { return nil }), probes.ErrInvalid, "%q", name)
		_, err := r.AddHeartbeat(name, 1)
		assert.ErrorIs(t, err, probes.ErrInvalid, "%q", name)
		_, err = r.Expect(name)
		assert.ErrorIs(t, err, probes.ErrInvalid, "%q", name)
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL = &url.URL{Path: "/readyz/x" + name}
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, req)
		assert.Equal(t, "no such check\n", w.Body.String(), "%q", name)
	}
	assert.NoError(t, r.AddReadiness(probes.Check{Name: "x", Func: func(context.Context) error { return nil }}))
}
