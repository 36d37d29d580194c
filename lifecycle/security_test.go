// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// drip sends text, and then a line a second until the server has had enough.
func drip(text, line string) func(net.Conn) {
	return func(conn net.Conn) {
		go io.Copy(io.Discard, conn)
		_, err := io.WriteString(conn, text)
		for err == nil {
			time.Sleep(time.Second)
			_, err = io.WriteString(conn, line)
		}
	}
}

// dialProbes connects to a probe listener that has h, in a bubble. The server ends with
// the test; closed is told when it has done with the connection.
func dialProbes(t *testing.T, h http.Handler) (conn net.Conn, closed chan time.Time) {
	srv, l := lifecycle.NewProbeServer(h, slog.DiscardHandler), memnet.Listen()
	closed = make(chan time.Time, 1)
	srv.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- time.Now()
		}
	}
	served := make(chan struct{})
	go func() { defer close(served); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-served })
	conn, err := l.Dial(t.Context())
	require.NoError(t, err)
	return conn, closed
}

// Whoever reaches the probe listener keeps a connection of it, and a goroutine, for
// a bounded time, whatever he does.
func TestSecurityProbeListenerIsNotHeld(t *testing.T) {
	var registry probes.Registry
	registry.Started()
	long := strings.Repeat("x", 1<<20)
	mux := http.NewServeMux()
	mux.Handle("/readyz", registry.ReadyHandler())
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, long) })
	mux.Handle("/admin/", lifecycle.Unhurried(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(10 * time.Minute):
			io.WriteString(w, "at last")
		case <-r.Context().Done():
		}
	})))
	mux.Handle("/", lifecycle.Unhurried(http.NotFoundHandler()))
	const request = " HTTP/1.1\r\nHost: x\r\n"
	send := func(text string) func(net.Conn) {
		return func(conn net.Conn) { io.WriteString(conn, text); go io.Copy(io.Discard, conn) }
	}
	for name, tt := range map[string]struct {
		client func(net.Conn)
		gone   time.Duration
	}{
		"says nothing":              {func(net.Conn) {}, 5 * time.Second},
		"half a header":             {send("GET /readyz" + request), 5 * time.Second},
		"a header that drips":       {drip("GET /readyz"+request, "A: b\r\n"), 5 * time.Second},
		"a body that does not come": {send("POST /readyz" + request + "Content-Length: 9\r\n\r\n"), 5 * time.Second},
		"a GET's that does not":     {send("GET /readyz" + request + "Content-Length: 9\r\n\r\n"), 5 * time.Second},
		"a body that drips":         {drip("PUT /readyz"+request+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), 5 * time.Second},
		"does not take the answer":  {func(conn net.Conn) { io.WriteString(conn, "GET /long"+request+"\r\n") }, 5 * time.Second},
		"idle":                      {send("GET /readyz" + request + "\r\n"), 2 * time.Minute},
		"HTTP/2":                    {send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0},
		"a body for nobody":         {send("POST /nowhere" + request + "Content-Length: 9\r\n\r\n"), time.Minute},
		"a slow answer of Admin's":  {send("GET /admin/profile" + request + "Connection: close\r\n\r\n"), 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, closed := dialProbes(t, mux)
				began := time.Now()
				var client sync.WaitGroup
				client.Go(func() { tt.client(conn) })
				assert.Equal(t, tt.gone, (<-closed).Sub(began))
				conn.Close()
				client.Wait()
			})
		})
	}
}

// What is too much, or not meant for a prober, is refused by net/http or not found.
func TestSecurityProbeListenerRefusesWhatIsTooMuch(t *testing.T) {
	var registry probes.Registry
	registry.Started()
	for name, tt := range map[string]struct{ request, want string }{
		"a huge header":       {"GET /readyz HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "431 Request Header Fields Too Large"},
		"a huge path":         {"GET /readyz/" + strings.Repeat("x", 80<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431 Request Header Fields Too Large"},
		"a long path":         {"GET /readyz/" + strings.Repeat("x", 32<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
		"HTTP/2":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404 Not Found"},
		"an upgrade":          {"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", "200 OK"},
		"a method":            {"DELETE /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed"},
		"CONNECT":             {"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
		"a proxy's request":   {"GET http://10.0.0.1/secret HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
		"two lengths":         {"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400 Bad Request"},
		"length and encoding": {"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "501 Not Implemented"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, closed := dialProbes(t, registry.Handler())
				var client sync.WaitGroup
				client.Go(func() { io.WriteString(conn, tt.request) })
				line, err := bufio.NewReader(conn).ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, "HTTP/1.1 "+tt.want+"\r\n", line)
				conn.Close()
				client.Wait()
				<-closed
			})
		})
	}
}

// Of what a proxy would be asked an App takes the path alone, and no upgrade: nothing goes
// elsewhere.
func TestSecurityProbeListenerOfAnAppIsNoProxy(t *testing.T) {
	for name, tt := range map[string]struct{ request, want string }{
		"for a probe":   {"GET http://10.0.0.1/livez HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"for Admin":     {"GET http://10.0.0.1/secret HTTP/1.1\r\nHost: x\r\n\r\n", "/secret"},
		"as a tunnel":   {"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"as an upgrade": {"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				admin := ""
				a, _ := app()
				a.ProbeAddr = "127.0.0.1:0"
				a.Admin = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { admin = r.URL.Path })
				conn, closed := dialProbes(t, lifecycle.Watched(a))
				go io.WriteString(conn, tt.request)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				assert.NotEqual(t, http.StatusSwitchingProtocols, resp.StatusCode)
				conn.Close()
				<-closed
				assert.Equal(t, tt.want, admin)
			})
		})
	}
}

// Admin may have net/http/pprof, which looks at the server's bounds.
func TestProfilesOfTheProbeListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, closed := dialProbes(t, lifecycle.Unhurried(pprof.Handler("allocs")))
		began := time.Now()
		go io.WriteString(conn, "GET /debug/pprof/allocs?seconds=30 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		assert.NoError(t, err)
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, 30*time.Second, time.Since(began))
		conn.Close()
		<-closed
	})
}

// The listener of an App is that server, in front of the probes and of Admin.
func TestSecurityProbeListenerOfAnApp(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	a, _ := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr = freeAddr(t)
	var srv *http.Server
	a.Admin = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		srv = r.Context().Value(http.ServerContextKey).(*http.Server)
		// It may set deadlines of its own: those of the listener are not its.
		assert.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Time{}))
	})
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			resp, err := http.Get("http://" + a.ProbeAddr + "/metrics")
			if assert.NoError(t, err) {
				resp.Body.Close()
			}
			a.Shutdown("seen")
		}
	})
	require.NoError(t, a.Run(t.Context()))
	require.NotNil(t, srv)
	want := lifecycle.NewProbeServer(nil, slog.DiscardHandler)
	assert.Equal(t, []any{want.ReadTimeout, want.WriteTimeout, want.IdleTimeout, want.MaxHeaderBytes},
		[]any{srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout, srv.MaxHeaderBytes})
}

// A deadlines notes which deadlines a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (p *deadlines) SetReadDeadline(t time.Time) error  { p.read = append(p.read, t); return nil }
func (p *deadlines) SetWriteDeadline(t time.Time) error { p.write = append(p.write, t); return nil }

// The listener's bounds are not lifted for the probes, nor for who has no token.
func TestSecurityWhoMayTakeHisTime(t *testing.T) {
	a, _ := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr, a.PreStopToken, a.Admin = "127.0.0.1:0", "secret", http.NotFoundHandler()
	h := lifecycle.Watched(a)
	for target, lifted := range map[string]bool{
		"/livez": false, "/readyz?verbose": false, "/readyz/db": false, "/metrics": true, "/": true, "/prestop": false, "/prestop secret": true,
	} {
		target, token, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		var want []time.Time
		if lifted {
			want = []time.Time{{}}
		}
		assert.Equal(t, want, w.read, target)
		assert.Equal(t, want, w.write, target)
	}
}

// Connections that are held on the probe listener keep no prober out, are closed with
// it, and are not waited for.
func TestSecurityHeldProbesHoldNothing(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	a, _ := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr, a.PreStopToken = freeAddr(t), "secret"
	const each = 100
	var held []net.Conn
	asked, left := make(chan struct{}), make(chan struct{})
	a.Admin = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(left)
	})
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		if e.Instant != "Started" {
			return
		}
		for _, text := range []string{"", "GET /readyz HTTP/1.1\r\nHost:", "POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"} {
			for range each {
				conn, err := net.Dial("tcp", a.ProbeAddr)
				if assert.NoError(t, err) {
					io.WriteString(conn, text)
					held = append(held, conn)
				}
			}
		}
		io.WriteString(held[0], "GET /profile HTTP/1.1\r\nHost: x\r\n\r\n")
		<-asked
		resp, err := http.Get("http://" + a.ProbeAddr + "/livez")
		if assert.NoError(t, err) {
			resp.Body.Close()
			assert.Equal(t, http.StatusOK, resp.StatusCode)
		}
		a.Shutdown("enough")
	})
	require.NoError(t, a.Run(t.Context()))
	<-left
	assert.Len(t, held, 3*each)
	for _, conn := range held {
		_, err := io.Copy(io.Discard, conn) // ends
		assert.False(t, errors.Is(err, net.ErrClosed))
		conn.Close()
	}
}
