// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/waitgroup"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/filters"
	knative "knative.dev/pkg/network/handlers"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) } // klog has one

// A server is a way to count the requests that are under way, for a drain to come.
type server struct {
	name  string
	serve func(h http.Handler) (serve func(net.Listener) error, end func(context.Context) error)
}

var servers = []server{
	{"net-http", plain},
	{"lameduck", func(h http.Handler) (func(net.Listener) error, func(context.Context) error) {
		s := &drain.Server{HTTP: &http.Server{Handler: h}, Floor: -1, Quiet: -1, Linger: -1}
		return s.Serve, func(ctx context.Context) error {
			_, err := s.Drain(ctx)
			return err
		}
	}},
	{"knative", func(h http.Handler) (func(net.Listener) error, func(context.Context) error) {
		return plain(&knative.Drainer{Inner: h})
	}},
	{"apiserver", func(h http.Handler) (func(net.Listener) error, func(context.Context) error) {
		short := func(*http.Request, *request.RequestInfo) bool { return false }
		return plain(withRequestInfo(filters.WithWaitGroup(h, short, new(waitgroup.SafeWaitGroup))))
	}},
}

// withRequestInfo gives a request what the wait-group filter asks for, and does not
// parse the path for it, as the filter before it in the API server does.
func withRequestInfo(h http.Handler) http.Handler {
	info := &request.RequestInfo{Path: "/work", Verb: "get"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(request.WithRequestInfo(r.Context(), info)))
	})
}

func plain(h http.Handler) (func(net.Listener) error, func(context.Context) error) {
	s := &http.Server{Handler: h}
	return s.Serve, s.Shutdown
}

var small = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })

// BenchmarkServeInMemory is one request on a connection in memory that is kept: what
// serving costs without the kernel, and what it allocates.
func BenchmarkServeInMemory(b *testing.B) {
	for _, s := range servers {
		b.Run(s.name, func(b *testing.B) {
			l := memnet.Listen()
			defer start(b, s, l)()
			conn, err := l.Dial(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			c := &client{conn, bufio.NewReader(conn)}
			defer c.Close()
			c.ask(b)
			b.ReportAllocs()
			for b.Loop() {
				c.ask(b)
			}
		})
	}
}

// BenchmarkServeLoopback is the same on eight connections of the loopback interface at
// a time.
func BenchmarkServeLoopback(b *testing.B) {
	const conns = 8
	for _, s := range servers {
		b.Run(s.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer start(b, s, l)()
			var clients []*client
			for range conns {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				clients = append(clients, &client{conn, bufio.NewReader(conn)})
			}
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for i, c := range clients {
				group.Go(func() {
					for range (b.N + i) / conns {
						c.ask(b)
					}
				})
			}
			group.Wait()
			b.StopTimer()
			for _, c := range clients {
				c.Close()
			}
		})
	}
}

// TestServers makes sure that what is measured is what is meant.
func TestServers(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			l := memnet.Listen()
			defer start(t, s, l)()
			conn, err := l.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c := &client{conn, bufio.NewReader(conn)}
			defer c.Close()
			for range 3 {
				c.ask(t)
			}
		})
	}
}

// start serves l until the function that it returns is called.
func start(tb testing.TB, s server, l net.Listener) (end func()) {
	serve, shutdown := s.serve(small)
	served := make(chan error)
	go func() { served <- serve(l) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := shutdown(ctx); err != nil {
			tb.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	}
}

// A client has a connection that is kept, and allocates nothing.
type client struct {
	net.Conn
	in *bufio.Reader
}

var (
	question = []byte("GET /work HTTP/1.1\r\nHost: test\r\n\r\n")
	good     = []byte("HTTP/1.1 200 OK\r\n")
)

// ask sends a request and reads the answer, whose body is "ok".
func (c *client) ask(tb testing.TB) {
	if _, err := c.Write(question); err != nil {
		tb.Error(err)
		return
	}
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			tb.Error(err)
			return
		}
		if first && !bytes.Equal(line, good) {
			tb.Errorf("answered %q", line)
		}
		if len(line) == len("\r\n") {
			break
		}
	}
	if n, err := c.in.Discard(len("ok")); err != nil {
		tb.Errorf("read %d bytes of the body: %v", n, err)
	}
}
