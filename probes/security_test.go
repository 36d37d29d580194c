// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// Who sees the text of errors when nobody has said who may: on a listener of the
// probes' own whoever reaches it, on the service's router a person on this host; and
// nowhere the page of somebody else in a browser on this host (DNS rebinding).
func TestSecurityWhoSeesErrorTexts(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := make(http.Header)
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	for _, tt := range []struct {
		name, remote, host string
		header             http.Header
		mounted, own       bool
	}{
		{"a person on this host", "127.0.0.1:4711", "localhost:8080", nil, true, true},
		{"by the address", "127.0.0.1:4711", "127.0.0.1:8080", nil, true, true},
		{"by IPv6", "[::1]:4711", "[::1]:8080", nil, true, true},
		{"by IPv6, without a port", "[::1]:4711", "[::1]", nil, true, true},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:4711", "localhost", nil, true, true},
		{"another loopback address", "127.8.8.8:4711", "127.8.8.8", nil, true, true},
		{"localhost with a dot, shouted", "127.0.0.1:4711", "LOCALHOST.:8080", nil, true, true},
		{"a name under localhost", "127.0.0.1:4711", "orders.localhost:8080", nil, true, true},
		{"HTTP/1.0", "127.0.0.1:4711", "", nil, true, true},

		{"DNS rebinding", "127.0.0.1:4711", "evil.example:8080", nil, false, false},
		{"DNS rebinding, same site", "127.0.0.1:4711", "evil.example", header("Sec-Fetch-Site", "same-origin"), false, false},
		{"DNS rebinding to IPv6", "[::1]:4711", "evil.example", nil, false, false},
		{"a name that begins alike", "127.0.0.1:4711", "localhost.evil.example", nil, false, false},
		{"a name that ends alike", "127.0.0.1:4711", "evillocalhost", nil, false, false},
		{"a name that looks like an address", "127.0.0.1:4711", "127.0.0.1.evil.example", nil, false, false},
		{"a name in brackets", "127.0.0.1:4711", "[evil.example]:8080", nil, false, false},

		{"a stranger", "192.0.2.1:4711", "localhost", nil, false, true},
		{"a stranger by name", "192.0.2.1:4711", "orders.example", nil, false, true},
		{"who says he is local", "192.0.2.1:4711", "127.0.0.1", header("X-Forwarded-For", "127.0.0.1"), false, true},
		{"through a proxy here", "127.0.0.1:4711", "localhost", header("X-Forwarded-For", "127.0.0.1"), false, true},
		{"with two proxies", "127.0.0.1:4711", "localhost", header("Via", "1.1 edge"), false, true},
		{"RFC 7239", "127.0.0.1:4711", "localhost", header("Forwarded", "for=127.0.0.1"), false, true},
		{"a CDN", "127.0.0.1:4711", "localhost", header("CDN-Loop", "edge"), false, true},
		{"Client-IP", "127.0.0.1:4711", "localhost", header("Client-IP", "127.0.0.1"), false, true},
		{"X-Client-IP", "127.0.0.1:4711", "localhost", header("X-Client-IP", "127.0.0.1"), false, true},
		{"Fastly-Client-IP", "127.0.0.1:4711", "localhost", header("Fastly-Client-IP", "127.0.0.1"), false, true},
		{"what a middleware makes of X-Real-IP", "127.0.0.1", "localhost", nil, false, true},
		{"a Unix socket", "@", "localhost", nil, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sick(t, func(r *rig) {
				for kind, want := range map[string]bool{"mounted": tt.mounted, "own": tt.own} {
					h := mounted(r.Registry)
					if kind == "own" {
						h = r.Handler()
					}
					for _, target := range []string{"/readyz?verbose", "/readyz?format=json&verbose", "/readyz?format=html", "/readyz/db?verbose"} {
						req := httptest.NewRequest(http.MethodGet, target, nil)
						req.RemoteAddr, req.Host = tt.remote, tt.host
						if tt.header != nil {
							req.Header = tt.header
						}
						w := httptest.NewRecorder()
						h.ServeHTTP(w, req)
						assert.Equal(t, http.StatusServiceUnavailable, w.Code)
						assert.Equal(t, want, strings.Contains(w.Body.String(), "hunter2"), "%s %s", kind, target)
					}
				}
			})
		})
	}
}

// The same over sockets, where net/http says who it is.
func TestSecurityRebindingOverASocket(t *testing.T) {
	failing := make(chan struct{})
	r := probes.Registry{OnChange: func(c probes.Change) {
		if c.Check == "db" {
			close(failing)
		}
	}}
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error { return errors.New("hunter2") }}))
	r.Started()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-failing
	s := httptest.NewServer(mounted(&r))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	for host, want := range map[string]bool{"localhost:" + port: true, "127.0.0.1:" + port: true, "evil.example:" + port: false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/readyz?format=json&verbose", nil)
		require.NoError(t, err)
		req.Host = host
		var got strings.Builder
		resp, err := s.Client().Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Write(&got))
		resp.Body.Close()
		assert.Equal(t, want, strings.Contains(got.String(), "hunter2"), host)
		assert.NotContains(t, got.String(), "Access-Control-Allow")
	}
	cancel()
	require.NoError(t, <-done)
}

// What whoever may ask can cause: a check on demand runs once for its time to live,
// and one that runs at an interval not at all, whatever is asked, and how often.
func TestSecurityProbesCauseOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var demanded, short, background atomic.Int32
		count := func(n *atomic.Int32) func(context.Context) error {
			return func(context.Context) error { n.Add(1); return nil }
		}
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "demanded", TTL: time.Minute, Func: count(&demanded)},
			probes.Check{Name: "short", TTL: 10 * time.Second, Func: count(&short)},
			probes.Check{Name: "background", Interval: time.Hour, Jitter: -1, Func: count(&background)},
		))
		r.run()
		h := r.Handler()
		for i := range 12 { // a minute
			for range 20 {
				for _, target := range []string{"/readyz", "/readyz?verbose", "/readyz/demanded", "/readyz/background", "/readyz?exclude=background",
					"/servingz?format=json&verbose", "/", "/readyz?exclude=" + strings.Repeat("x", 1000), "/readyz/demanded/", "/livez", "/startupz"} {
					for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
						go request(h, method, target)
					}
				}
			}
			synctest.Wait()
			assert.EqualValues(t, 1, demanded.Load())
			assert.EqualValues(t, i/2+1, short.Load())
			time.Sleep(5 * time.Second)
		}
		assert.EqualValues(t, 1, background.Load(), "by itself")
		r.end()
	})
}

// A query as long as net/http lets it be costs little more than its parsing, and is not
// given back.
func TestSecurityLongQueries(t *testing.T) {
	const most = 9999 // parameters; net/url takes no more of them
	sick(t, func(r *rig) {
		for name, query := range map[string]string{
			"names":       strings.Repeat("exclude=x&", most),
			"the same":    strings.Repeat("exclude=db&", most),
			"long names":  strings.Repeat("exclude="+strings.Repeat("x", 90)+"&", most),
			"too many":    strings.Repeat("exclude=x&", 100<<10),
			"one":         "exclude=" + strings.Repeat("x", 1<<20),
			"escapes":     "exclude=" + strings.Repeat("%0a", 300<<10),
			"ampersands":  strings.Repeat("&", 1<<20),
			"semicolons":  strings.Repeat("exclude=x;", 100<<10),
			"not escaped": "exclude=%zz&verbose=%",
		} {
			parsing := allocated(func() { url.ParseQuery(query) })
			w := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodGet, "/readyz?"+query, nil)
			all := allocated(func() { r.Handler().ServeHTTP(w, req) })
			assert.Less(t, all, 4*parsing+64<<10, "%s: bytes allocated; the parsing takes %d", name, parsing)
			assert.Less(t, w.Body.Len(), 10<<10, name)
			assert.NotContains(t, strings.TrimSuffix(w.Body.String(), "\n"), "\n\n", name)
		}
	})
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
