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
	"strconv"
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

func TestHTTPStatus(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Path[1:])
		assert.NoError(t, err)
		w.WriteHeader(code)
	})
	for code, ok := range map[int]bool{200: false, 400: false, 401: true, 403: true, 404: false, 500: false} {
		err := checks.HTTPStatus(nil, s.URL+"/"+strconv.Itoa(code), 401, 403)(t.Context())
		assert.Equal(t, ok, err == nil, "%d: %v", code, err)
	}
	assert.Error(t, checks.HTTPStatus(nil, s.URL+"/200", 201, 200)(t.Context()), "an empty range")
}

func TestHTTPHidesPasswords(t *testing.T) {
	s := serve(t, http.NotFound)
	url := strings.Replace(s.URL, "http://", "http://user:hunter2@", 1)
	assert.EqualError(t, checks.HTTP(nil, url)(t.Context()),
		"GET "+strings.Replace(url, "hunter2", "xxxxx", 1)+": 404 Not Found")
	s.Close()
	assert.NotContains(t, checks.HTTP(nil, url)(t.Context()).Error(), "hunter2")
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

// An answer is what a Redis client returns.
type answer struct{ err error }

func (a *answer) Err() error { return a.err }

type redis func(context.Context) *answer

func (r redis) Ping(ctx context.Context) *answer { return r(ctx) }

func TestRedis(t *testing.T) {
	errDown := errors.New("LOADING Redis is loading the dataset in memory")
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	assert.NoError(t, checks.Redis(redis(func(ctx context.Context) *answer {
		assert.Equal(t, "value", ctx.Value(key{}))
		return new(answer)
	}))(ctx))
	assert.ErrorIs(t, checks.Redis(redis(func(context.Context) *answer { return &answer{errDown} }))(ctx), errDown)
}

// What follows has the shape of google.golang.org/grpc/health/grpc_health_v1.
type (
	healthRequest  struct{ service string }
	healthResponse struct{ status servingStatus }
	servingStatus  int32
	callOption     any
	healthClient   func(context.Context, *healthRequest) (*healthResponse, error)
)

func (r *healthResponse) GetStatus() servingStatus { return r.status }
func (s servingStatus) String() string {
	return [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}[s]
}

func (c healthClient) Check(ctx context.Context, r *healthRequest, _ ...callOption) (*healthResponse, error) {
	return c(ctx, r)
}

func TestGRPC(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	status, errDown := servingStatus(0), error(nil)
	check := checks.GRPC(healthClient(func(ctx context.Context, r *healthRequest) (*healthResponse, error) {
		assert.Equal(t, "orders", r.service)
		assert.Equal(t, "value", ctx.Value(key{}))
		return &healthResponse{status}, errDown
	}), &healthRequest{"orders"})
	assert.EqualError(t, check(ctx), "grpc health: UNKNOWN")
	status = 1
	assert.NoError(t, check(ctx))
	status = 2
	assert.EqualError(t, check(ctx), "grpc health: NOT_SERVING")
	status = 3
	assert.EqualError(t, check(ctx), "grpc health: SERVICE_UNKNOWN")
	errDown = errors.New("unavailable")
	assert.ErrorIs(t, check(ctx), errDown)
}

func TestNoClientIsNoCheck(t *testing.T) {
	assert.Nil(t, checks.Redis[*answer](nil))
	assert.Nil(t, checks.GRPC[*healthRequest, callOption, servingStatus, *healthResponse](nil, nil))
}

func TestChecksFitARegistry(t *testing.T) {
	var r probes.Registry
	require.NoError(t, r.AddReadiness(probes.Check{Name: "tcp", Func: checks.TCP("127.0.0.1:1")}))
	require.NoError(t, r.AddReadiness(probes.Check{Name: "http", Func: checks.HTTP(nil, "http://127.0.0.1:1")}))
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: new(sql.DB).PingContext}))
}

func TestHTTPDoesNotShowThePasswordOfABadURL(t *testing.T) {
	for _, url := range []string{"http://user:hunter2@host:80 80/", "http://user:hunter2@host/%zz"} {
		err := checks.HTTP(nil, url)(t.Context())
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}
