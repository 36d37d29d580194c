// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestProbesRunNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var calls atomic.Int32
		r.ready("db", func(context.Context) error { calls.Add(1); return nil })
		r.run()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				assert.Equal(t, okBody, get(r.ReadyHandler()))
				assert.Equal(t, okBody, get(r.LiveHandler()))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, calls.Load())
		r.end()
	})
}

func TestCancelledProbeChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("db", func(ctx context.Context) error { return ctx.Err() })
		r.run()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}

func TestBody(t *testing.T) {
	body := func(names ...string) string {
		r := new(probes.Registry)
		r.Started()
		for _, name := range names {
			require.NoError(t, r.AddReadiness(probes.Check{Name: name, Func: fail}))
		}
		return get(r.ReadyHandler())
	}
	t.Run("sorted", func(t *testing.T) {
		assert.Equal(t, "503 not ready: cache, db, queue\n", body("queue", "db", "cache"))
	})
	t.Run("bounded", func(t *testing.T) {
		var names []string
		for i := range 2000 {
			names = append(names, fmt.Sprintf("check-%04d", i))
		}
		got := body(names...)
		assert.Less(t, len(got), 10<<10)
		assert.Greater(t, len(got), 7<<10)
		listed := strings.Count(got, "check-")
		assert.True(t, strings.HasSuffix(got, fmt.Sprintf("check-%04d, and %d more\n", listed-1, 2000-listed)), got[len(got)-40:])
	})
	t.Run("a name that does not fit", func(t *testing.T) {
		assert.Equal(t, "503 not ready: "+strings.Repeat("x", 120)+"..., y\n", body(strings.Repeat("x", 10<<10), "y"))
	})
	t.Run("without the error's text", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.ready("db", fail)
			r.run()
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Contains(t, r.log(), "hunter2")
			r.end()
		})
	})
}

func TestMethodsAndHeaders(t *testing.T) {
	r := new(probes.Registry)
	for _, tt := range []struct {
		method, path string
		code         int
		body, length string
	}{
		{"GET", "/livez", 200, "ok\n", "3"},
		{"HEAD", "/livez", 200, "", "3"},
		{"GET", "/readyz", 503, "not ready: starting\n", "20"},
		{"HEAD", "/readyz", 503, "", "20"},
		{"GET", "/startupz", 503, "not ready: starting\n", "20"},
		{"POST", "/livez", 405, "method not allowed\n", "19"},
		{"POST", "/readyz", 405, "method not allowed\n", "19"},
		{"DELETE", "/startupz", 405, "method not allowed\n", "19"},
	} {
		for name, mux := range map[string]interface {
			Handle(pattern string, h http.Handler)
			http.Handler
		}{"ServeMux": http.NewServeMux(), "chi": chi.NewRouter()} {
			t.Run(tt.method+" "+tt.path+" on "+name, func(t *testing.T) {
				r.Mount(mux)
				w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
				mux.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path+"?verbose", nil))
				assert.Equal(t, tt.code, w.Code)
				if tt.code == 405 && name == "ServeMux" {
					assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
					return // its own answer
				}
				assert.Equal(t, tt.body, w.Body.String())
				want := http.Header{
					"Cache-Control":          {"no-store"},
					"Content-Type":           {"text/plain; charset=utf-8"},
					"X-Content-Type-Options": {"nosniff"},
					"Content-Length":         {tt.length},
				}
				if tt.code == 405 {
					want["Allow"] = []string{"GET, HEAD"}
				}
				assert.Equal(t, want, w.Header())
				assert.LessOrEqual(t, w.writes, 1)
			})
		}
	}
}

type countingWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.ResponseRecorder.Write(p)
}

func TestOverTheWire(t *testing.T) {
	r := new(probes.Registry)
	r.Started()
	mux := http.NewServeMux()
	r.Mount(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+"/readyz", nil)
		require.NoError(t, err)
		resp, err := srv.Client().Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.EqualValues(t, 3, resp.ContentLength)
		assert.Empty(t, resp.TransferEncoding)
	}
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
