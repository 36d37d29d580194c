// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ interface{ PingContext(context.Context) error } = (*sql.DB)(nil)

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	check := checks.TCP(l.Addr().String())
	require.NoError(t, check(t.Context()))
	conn, err := l.Accept()
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err, "the check keeps no connection")
	conn.Close()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorContains(t, check(ctx), "operation was canceled")

	l.Close()
	assert.ErrorContains(t, check(t.Context()), "refused")
}

// A site counts the connections it is asked on.
type site struct {
	*httptest.Server
	conns atomic.Int32
}

func serve(t *testing.T, h http.HandlerFunc) *site {
	s := &site{Server: httptest.NewUnstartedServer(h)}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestHTTP(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nocontent":
			w.WriteHeader(http.StatusNoContent)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/down":
			http.Error(w, "secret", http.StatusServiceUnavailable)
		case "/broken":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
		default:
			w.Write([]byte(strings.Repeat("x", 32<<10)))
		}
	})
	for _, tt := range []struct{ path, want string }{
		{"/ok", ""},
		{"/nocontent", ""},
		{"/moved", "/moved: 302 Found"},
		{"/down", "/down: 503 Service Unavailable"},
		{"/broken", "/broken: unexpected EOF"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			err := checks.HTTP(nil, s.URL+tt.path)(t.Context())
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, "GET "+s.URL+tt.want)
			}
		})
	}

	t.Run("a client that follows redirects", func(t *testing.T) {
		assert.NoError(t, checks.HTTP(s.Client(), s.URL+"/moved")(t.Context()))
	})
	t.Run("not a URL", func(t *testing.T) {
		assert.Error(t, checks.HTTP(nil, "://")(t.Context()))
	})
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		assert.ErrorContains(t, checks.HTTP(nil, "http://"+l.Addr().String())(t.Context()), "refused")
	})
}

func TestHTTPUsesItsConnectionAgain(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(strings.Repeat("x", 32<<10)))
	})
	check := checks.HTTP(nil, s.URL)
	for range 10 {
		assert.Error(t, check(t.Context()))
	}
	assert.EqualValues(t, 1, s.conns.Load())
}

func TestHTTPReadsNoMoreThanItsBound(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 4<<10)); err != nil {
				return // the client has had enough
			}
		}
	})
	assert.NoError(t, checks.HTTP(nil, s.URL)(t.Context()))
}

func TestHTTPEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	assert.ErrorIs(t, checks.HTTP(nil, s.URL)(ctx), context.Canceled)
}

type pinger func(context.Context) error

func (p pinger) PingContext(ctx context.Context) error { return p(ctx) }

func TestPing(t *testing.T) {
	errDown := errors.New("down")
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	assert.NoError(t, checks.Ping(pinger(func(ctx context.Context) error {
		assert.Equal(t, "value", ctx.Value(key{}))
		return nil
	}))(ctx))
	assert.ErrorIs(t, checks.Ping(pinger(func(context.Context) error { return errDown }))(ctx), errDown)
}

func TestChecksFitARegistry(t *testing.T) {
	var r probes.Registry
	require.NoError(t, r.AddReadiness(probes.Check{Name: "tcp", Func: checks.TCP("127.0.0.1:1")}))
	require.NoError(t, r.AddReadiness(probes.Check{Name: "http", Func: checks.HTTP(nil, "http://127.0.0.1:1")}))
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: checks.Ping(pinger(nil))}))
}
