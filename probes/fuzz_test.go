// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// Whatever a request asks, it is answered with one of a few codes, a length that
// is right, in lines of valid text, and no error's text.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"/readyz", "verbose", "*/*"},
		{"/readyz/db", "exclude=db&exclude=%0a", "application/json"},
		{"/readyz/", "format=html&verbose=0", "text/html;q=0.1"},
		{"/livez/../x", "%zz;&=&", ";;q=NaN,application/health+json;q=1e-9"},
		{"//readyz\x00", "exclude", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	r := new(probes.Registry)
	r.Started()
	require.NoError(f, r.AddReadiness(
		probes.Check{Name: "db", Func: func(context.Context) error { return errDown }},
		probes.Check{Name: "web", DependsOn: []string{"db"}, Func: pass},
		probes.Check{Name: "cache", Optional: true, Func: pass},
	))
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	r.Logger = slog.New(slog.DiscardHandler)
	go func() { ran <- r.Run(ctx) }()
	f.Cleanup(func() { cancel(); <-ran })
	own := httptest.NewRequest(http.MethodGet, "/readyz/db?verbose", nil)
	require.Eventually(f, func() bool { // or else there is no text to leak
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, own)
		return strings.Contains(w.Body.String(), "hunter2")
	}, 10*time.Second, time.Millisecond)
	handlers := []http.Handler{mounted(r), r.Handler(), r.ReadyHandler(), r.LiveHandler(), r.StartupHandler(), r.ServingHandler()}
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		for i, h := range handlers {
			ask := func(method string) *countingWriter {
				req := httptest.NewRequest(method, "/", nil)
				req.URL = &url.URL{Path: path, RawQuery: query}
				req.Header["Accept"] = []string{accept}
				w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
				h.ServeHTTP(w, req)
				return w
			}
			w, head := ask(http.MethodGet), ask(http.MethodHead)
			if i == 0 && (w.Code/100 == 3 || w.Header().Get("Cache-Control") == "") {
				continue // the mux's own answers
			}
			assert.Contains(t, []int{200, 404, 503}, w.Code)
			assert.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			page := w.Header().Get("Content-Type") == "text/html; charset=utf-8"
			assert.Equal(t, page, w.Header().Get("Content-Security-Policy") != "")
			if page {
				harmless(t, w.Body.String())
			}
			assert.Equal(t, 1, w.writes)
			assert.Equal(t, w.Code, head.Code)
			assert.Zero(t, head.writes)
			head.Header().Set("Content-Length", w.Header().Get("Content-Length")) // of a page it is that of another moment
			assert.Equal(t, w.Header(), head.Header())
			body := w.Body.String()
			assert.True(t, utf8.ValidString(body))
			if i != 1 { // a listener of its own shows it
				assert.NotContains(t, body, "hunter2")
			}
			if w.Header().Get("Content-Type") == "application/health+json" {
				assert.True(t, json.Valid(w.Body.Bytes()))
			} else {
				assert.False(t, strings.ContainsFunc(body, func(r rune) bool { return r < ' ' && r != '\n' }), "%q", body)
			}
		}
	})
}

// Whatever a check is called and says, every answer is well-formed and tells of
// it, and its sub-path finds it.
func FuzzAnswers(f *testing.F) {
	f.Add("db", "down")
	f.Add("a/b", "\n[+]fake ok")
	f.Add("é ü", "\xff\x00</td><script>")
	f.Add(strings.Repeat("x", 600), strings.Repeat("y", 1100))
	f.Add("%2f?&#", "\u2028")
	f.Fuzz(func(t *testing.T, name, text string) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			check := probes.Check{Name: name, Func: func(context.Context) error { return errors.New(text) }}
			if err := r.AddReadiness(check); err != nil {
				assert.ErrorIs(t, err, probes.ErrInvalid)
				return
			}
			r.run()
			ask := func(path, query string) string {
				req := httptest.NewRequest(http.MethodGet, "/", nil)
				req.URL = &url.URL{Path: path, RawQuery: query}
				w := httptest.NewRecorder()
				r.Handler().ServeHTTP(w, req)
				assert.Contains(t, []int{200, 503}, w.Code)
				assert.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Length"))
				return w.Body.String()
			}
			assert.Less(t, len(ask("/readyz", "")), 10<<10)
			verbose := ask("/readyz", "verbose")
			assert.Equal(t, 2, strings.Count(verbose, "\n"), "%q", verbose)
			assert.True(t, utf8.ValidString(verbose))
			_, line, _ := strings.Cut(verbose, "\n")
			assert.True(t, strings.HasPrefix(line, "[-]"+name+" failed: ") || strings.HasPrefix(line, "[-]"+strconv.Quote(name)+" failed: "), line)
			assert.False(t, strings.ContainsFunc(verbose, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }), "%q", verbose)
			assert.Equal(t, verbose, ask("/readyz/"+name, "verbose"))
			assert.Regexp(t, "^ok\nexcluded: .+\n$", ask("/readyz", url.Values{"exclude": {name}}.Encode()))
			var got struct {
				Checks map[string][]struct{ Status string }
			}
			require.NoError(t, json.Unmarshal([]byte(ask("/readyz", "verbose&format=json")), &got))
			require.Len(t, got.Checks[name], 1)
			assert.Equal(t, "fail", got.Checks[name][0].Status)
			page := ask("/", "")
			harmless(t, page)
			assert.Equal(t, 5, strings.Count(page, "<table>")+strings.Count(page, "</table>")+strings.Count(page, "</html>"))
			r.end()
		})
	})
}
