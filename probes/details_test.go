// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
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
