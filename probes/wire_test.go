// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A tap is a listener that keeps what is written to its connections, write by
// write.
type tap struct {
	net.Listener
	mu     sync.Mutex
	writes []string
}

func (t *tap) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	return &tapped{conn, t}, err
}

// take returns what was written since the last call.
func (t *tap) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	writes := t.writes
	t.writes = nil
	return writes
}

type tapped struct {
	net.Conn
	tap *tap
}

func (c *tapped) Write(p []byte) (int, error) {
	c.tap.mu.Lock()
	c.tap.writes = append(c.tap.writes, string(p))
	c.tap.mu.Unlock()
	return c.Conn.Write(p)
}

// An answer leaves in one write on the connection, header and body, so that a
// prober that closes early, or a proxy, never sees half of one.
func TestOneWriteOnTheConnection(t *testing.T) {
	r := new(probes.Registry)
	require.NoError(t, r.AddReadiness(probes.Check{Name: "cache", Func: pass, Optional: true}))
	r.Started()
	down := new(probes.Registry)
	down.Started()
	require.NoError(t, down.AddReadiness(probes.Check{Name: "db", Func: pass}))
	down.Shutdown()

	mux := http.NewServeMux()
	r.Mount(mux)
	mux.Handle("/down/", http.StripPrefix("/down", mounted(down)))
	mux.Handle("/own/", http.StripPrefix("/own", down.Handler()))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	wire := &tap{Listener: listener}
	srv := &httptest.Server{Listener: wire, Config: &http.Server{Handler: mux}}
	srv.Start()
	defer srv.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	in := bufio.NewReader(conn)

	for _, tt := range []struct{ target, code, body string }{
		{"/livez", "200 OK", "ok\n"},
		{"/readyz", "200 OK", "ok, degraded: cache\n"},
		{"/startupz", "200 OK", "ok\n"},
		{"/servingz", "200 OK", "ok, degraded: cache\n"},
		{"/down/readyz", "503 Service Unavailable", "not ready: shutting down\n"},
		{"/down/servingz", "503 Service Unavailable", "not ready: db\n"},
		{"/own/readyz", "503 Service Unavailable", "not ready: shutting down\n"},
		{"/own/nowhere", "404 Not Found", "no such probe\n"},
		{"/readyz/cache", "200 OK", "ok, degraded: cache\n"},
		{"/readyz/none", "404 Not Found", "no such check\n"},
		{"/down/readyz?exclude=db", "503 Service Unavailable", "not ready: shutting down\nexcluded: db\n"},
		{"/livez?format=json", "200 OK", `{"status":"pass","description":"liveness"}` + "\n"},
		{"/readyz?verbose", "200 OK", "ok, degraded: cache\n[~]cache degraded: not run yet\n"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			name := method + " " + tt.target
			_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, tt.target)
			require.NoError(t, err)
			resp, err := http.ReadResponse(in, &http.Request{Method: method})
			require.NoError(t, err, name)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err, name)
			require.False(t, resp.Close, name)

			writes := wire.take()
			require.Len(t, writes, 1, name)
			assert.True(t, strings.HasPrefix(writes[0], "HTTP/1.1 "+tt.code+"\r\n"), "%s: %q", name, writes)
			_, sent, _ := strings.Cut(writes[0], "\r\n\r\n")
			assert.Equal(t, string(body), sent, name)
			assert.EqualValues(t, len(tt.body), resp.ContentLength, name)
			assert.Empty(t, resp.TransferEncoding, name)
			if method == http.MethodHead {
				assert.Empty(t, sent, name)
			} else {
				assert.Equal(t, tt.body, sent, name)
			}
		}
	}
}

// A strict ResponseWriter notes in which order its methods are called, so that a
// handler that flushes, writes twice or has a body for HEAD is seen: net/http
// forgives the last.
type strict struct {
	header http.Header
	calls  []string
	sent   http.Header // the header when it was sent
	body   bytes.Buffer
}

func (s *strict) Header() http.Header { return s.header }
func (s *strict) Flush()              { s.calls = append(s.calls, "Flush") }

func (s *strict) WriteHeader(code int) {
	s.calls = append(s.calls, fmt.Sprint(code))
	s.sent = s.header.Clone()
}

func (s *strict) Write(p []byte) (int, error) {
	s.calls = append(s.calls, "Write")
	return s.body.Write(p)
}

// HEAD is answered as GET is, with every header and without a body, in each format
// and on each path.
func TestHeadHasTheHeadersOfGet(t *testing.T) {
	r := new(probes.Registry)
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: pass}))
	_, err := r.Expect("migrations")
	require.NoError(t, err)
	const policy = "default-src 'none'; style-src 'unsafe-inline'"
	paths := []string{"/livez", "/readyz", "/startupz", "/servingz", "/readyz/db", "/readyz/none", "/startupz/migrations", "/", "/nowhere"}
	queries := []string{"", "verbose", "format=text", "format=json", "format=json&verbose", "format=html", "format=html&verbose", "exclude=db"}
	for _, accept := range []string{"", "*/*", "text/plain", "application/json", "text/html"} {
		for _, path := range paths {
			for _, query := range queries {
				name := fmt.Sprintf("%s?%s with %q", path, query, accept)
				ask := func(method string) *strict {
					w := &strict{header: make(http.Header)}
					req := httptest.NewRequest(method, path+"?"+query, nil)
					if accept != "" {
						req.Header.Set("Accept", accept)
					}
					r.Handler().ServeHTTP(w, req)
					return w
				}
				get, head := ask(http.MethodGet), ask(http.MethodHead)
				require.Len(t, get.calls, 2, name)
				assert.Equal(t, "Write", get.calls[1], name)
				assert.Equal(t, get.calls[:1], head.calls, "%s: the code and no more", name)
				assert.Equal(t, get.sent, head.sent, name)
				want := http.Header{
					"Cache-Control":          {"no-store"},
					"X-Content-Type-Options": {"nosniff"},
					"Content-Length":         {fmt.Sprint(get.body.Len())},
					"Content-Type":           get.sent["Content-Type"],
				}
				if strings.HasPrefix(get.sent.Get("Content-Type"), "text/html") {
					want.Set("Content-Security-Policy", policy)
				}
				assert.Equal(t, want, get.sent, name)
			}
		}
	}
}
