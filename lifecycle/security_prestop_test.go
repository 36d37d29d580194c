// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// Nothing but a GET with the token begins the shutdown, wherever it comes from: being
// on this host is no permission, since a browser and a proxy are, too. A browser's page
// has no token, and may not send the header to another site.
func TestSecurityPreStopTakesTheToken(t *testing.T) {
	const token = "correct-horse"
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for name, tt := range map[string]struct {
		method, target string
		change         func(*http.Request)
		status         int
	}{
		"the hook":                        {"GET", "/prestop", bearer(token), 200},
		"with a query":                    {"GET", "/prestop?x", bearer(token), 200},
		"nothing":                         {"GET", "/prestop", func(*http.Request) {}, 403},
		"an empty token":                  {"GET", "/prestop", bearer(""), 403},
		"a wrong one":                     {"GET", "/prestop", bearer("wrong"), 403},
		"the beginning":                   {"GET", "/prestop", bearer(token[:5]), 403},
		"more than it":                    {"GET", "/prestop", bearer(token + "x"), 403},
		"in capitals":                     {"GET", "/prestop", bearer(strings.ToUpper(token)), 403},
		"a huge one":                      {"GET", "/prestop", bearer(strings.Repeat(token, 1<<12)), 403},
		"without its scheme":              {"GET", "/prestop", func(r *http.Request) { r.Header.Set("Authorization", token) }, 403},
		"in the second header":            {"GET", "/prestop", func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer x", "Bearer " + token} }, 403},
		"in the query":                    {"GET", "/prestop?token=" + token + "&access_token=" + token, func(*http.Request) {}, 403},
		"as a user's password":            {"GET", "/prestop", func(r *http.Request) { r.SetBasicAuth("Bearer", token) }, 403},
		"as a cookie":                     {"GET", "/prestop", func(r *http.Request) { r.Header.Set("Cookie", "Authorization=Bearer "+token) }, 403},
		"for a proxy":                     {"GET", "/prestop", func(r *http.Request) { r.Header.Set("Proxy-Authorization", "Bearer "+token) }, 403},
		"from this host":                  {"GET", "/prestop", func(r *http.Request) { r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:8081" }, 403},
		"from this host, by IPv6":         {"GET", "/prestop", func(r *http.Request) { r.RemoteAddr = "[::1]:4711" }, 403},
		"from who says he is":             {"GET", "/prestop", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, 403},
		"from who says he is the kubelet": {"GET", "/prestop", func(r *http.Request) { r.Header.Set("User-Agent", "kube-lifecycle/1.37") }, 403},
		"DNS rebinding":                   {"GET", "/prestop", func(r *http.Request) { r.RemoteAddr, r.Host = "127.0.0.1:4711", "evil.example:8081" }, 403},
		"a form of another site":          {"POST", "/prestop", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 405},
		"an image of another site":        {"GET", "/prestop", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"a browser's question": {"OPTIONS", "/prestop", func(r *http.Request) {
			r.Header.Set("Access-Control-Request-Headers", "authorization")
			r.Header.Set("Origin", "https://evil.example")
		}, 405},
		"POST":                 {"POST", "/prestop", bearer(token), 405},
		"HEAD":                 {"HEAD", "/prestop", bearer(token), 405},
		"a longer path":        {"GET", "/prestop/", bearer(token), 404},
		"an escaped path":      {"GET", "/pre%73top", func(*http.Request) {}, 403},
		"a path to be cleaned": {"GET", "//prestop", bearer(token), 307},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := app(lifecycle.Component{Name: "db"})
			a.ProbeAddr, a.PreStopToken = "127.0.0.1:0", token
			r, w := httptest.NewRequest(tt.method, tt.target, nil), httptest.NewRecorder()
			tt.change(r)
			lifecycle.Watched(a).ServeHTTP(w, r)
			assert.Equal(t, tt.status, w.Code)
			assert.NotContains(t, w.Body.String(), token)
			for name := range w.Header() {
				assert.NotContains(t, name, "Access-Control")
			}
			assert.Equal(t, tt.status == 200, lifecycle.Begun(a))
		})
	}
}

// The token is in nothing that the process says: its log, its probes, its plan, its
// report, and the errors about it.
func TestSecurityPreStopTokenIsNotTold(t *testing.T) {
	const token = "correct-horse"
	a, log := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr, a.PreStopToken = "127.0.0.1:0", token
	plan, err := a.Plan()
	require.NoError(t, err)
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			a.Shutdown("enough")
		}
	})
	require.NoError(t, a.Run(t.Context()))
	report, err := json.Marshal(a.Report())
	require.NoError(t, err)
	said := log.String() + plan.String() + string(report) + a.Report().String()
	bad := &lifecycle.App{ProbeAddr: ":0", PreStopToken: token + "\n"}
	_, err = bad.Plan()
	require.ErrorIs(t, err, lifecycle.ErrConfig)
	assert.NotContains(t, said+err.Error(), token)
	b, _ := app(lifecycle.Component{Name: "db"})
	b.ProbeAddr, b.PreStopToken = "127.0.0.1:0", token
	h := lifecycle.Watched(b)
	for _, target := range []string{"/", "/readyz?verbose", "/readyz?format=json&verbose", "/prestop", "/debug/vars"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		assert.NotContains(t, w.Body.String(), token, target)
	}
}
