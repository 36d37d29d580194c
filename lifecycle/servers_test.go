// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// readiness returns the status of the two readiness probes.
func readiness(r *probes.Registry) (codes [2]int) {
	for i, path := range []string{"/readyz", "/servingz"} {
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		codes[i] = w.Code
	}
	return codes
}

// TestBackendOutlivesItsGateway: a request that is in a gateway when the shutdown
// begins still needs the backend on which the gateway depends.
func TestBackendOutlivesItsGateway(t *testing.T) {
	gatewayAddr, backendAddr := freeAddr(t), freeAddr(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	entered := make(chan struct{})
	backend := lifecycle.HTTP("backend", &http.Server{Addr: backendAddr, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from the backend") })})
	registry := new(probes.Registry)
	gateway := lifecycle.Component{}
	gateway = lifecycle.HTTP("gateway", &http.Server{Addr: gatewayAddr, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-gateway.Server.AcceptWindowClosed()
			assert.Equal(t, [2]int{503, 200}, readiness(registry), "the backend still accepts")
			resp, err := client.Get("http://" + backendAddr)
			if !assert.NoError(t, err) {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
		})}, "backend")
	started := make(chan struct{})
	a, log := app(gateway, backend)
	onceStarted(a, func() { close(started) })
	a.GracePeriod = 20 * time.Second
	a.Probes = registry

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-started
	var body []byte
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		resp, err := client.Get("http://" + gatewayAddr)
		if !assert.NoError(t, err) {
			return
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		assert.NoError(t, err)
	}()
	<-entered
	cancel()
	require.NoError(t, <-done)
	<-answered
	assert.Equal(t, [2]int{503, 503}, readiness(registry))
	assert.Equal(t, "from the backend", string(body))
	assert.Contains(t, log.String(), "instant=Drained component=backend")
}

// TestAcceptWindowWaitsForProbersOfTheProbeListener: a server does not see the
// probes of the listener that the process has for them.
func TestAcceptWindowWaitsForProbersOfTheProbeListener(t *testing.T) {
	web := &drain.Server{HTTP: &http.Server{Addr: freeAddr(t)}, Quiet: -1, FailureThreshold: 2}
	started := make(chan struct{})
	a, _ := app(lifecycle.Component{Name: "web", Server: web})
	onceStarted(a, func() { close(started) })
	a.GracePeriod, a.ProbeAddr = 20*time.Second, freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-started
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ready := func() int {
		resp, err := client.Get("http://" + a.ProbeAddr + "/readyz")
		if err != nil {
			return 0 // the process is over
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const period = 200 * time.Millisecond
	for range 2 { // once may be anybody
		require.Contains(t, []int{200, 503}, ready(), "a prober is there")
		time.Sleep(period)
	}
	cancel()
	failing := 0
	for open := true; open; {
		select {
		case <-web.AcceptWindowClosed():
			open = false
		case <-time.After(period):
			if ready() == 503 {
				failing++
			}
		}
	}
	assert.GreaterOrEqual(t, failing, 2)
	require.NoError(t, <-done)
}

// TestDrainThatIsLateIsReported: nobody waits for it, but what it says is not lost.
func TestDrainThatIsLateIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		l := memnet.Listen()
		d := newDiary()
		web := lifecycle.HTTP("web", &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })}, "db")
		web.Listen = func(context.Context) (net.Listener, error) { return l, nil }
		a, log := app(d.component("db"), web)
		a.Components = append(a.Components, lifecycle.Component{Name: "client", Start: func(ctx context.Context) error {
			nc, err := l.Dial(ctx)
			if err == nil {
				_, err = nc.Write([]byte("GET /slow HTTP/1.1\r\nHost: web\r\n\r\n"))
				go io.Copy(io.Discard, nc)
			}
			return err
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := lifecycle.RunDrainingBy(ctx, a, func(s *drain.Server, ctx context.Context) (drain.Report, error) {
			defer time.Sleep(time.Second)
			return s.Drain(ctx)
		})
		require.ErrorIs(t, err, lifecycle.ErrDeadline)
		assert.ErrorContains(t, err, "drain web: lifecycle: not done by its deadline: drain: cut at the deadline: GET /slow")
		assert.Contains(t, log.String(), "drain of a component that was left behind is over")
		assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
		require.NotNil(t, a.Report().Components[1].Drained)
		_, _, cut := a.Report().Requests()
		assert.EqualValues(t, 1, cut)
	})
}

// TestDrainThatPanicsIsNoHang: it is over long before its deadline.
func TestDrainThatPanicsIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		web := lifecycle.HTTP("web", new(http.Server))
		web.Listen = func(context.Context) (net.Listener, error) { return breaksOnce{l, new(atomic.Bool)}, nil }
		a, log := app(web)
		err := runFor(t, a, time.Minute)
		assert.ErrorContains(t, err, "drain web: drain: Close of the listener lifecycle_test.breaksOnce panicked: odd")
		assert.NotErrorIs(t, err, lifecycle.ErrDeadline)
		assert.Equal(t, 1, lifecycle.ExitCode(err))
		assert.Contains(t, log.String(), `msg="component failed to drain" component=web`)
	})
}

// A breaksOnce is closed, and breaks when it is closed first.
type breaksOnce struct {
	net.Listener
	broken *atomic.Bool
}

func (l breaksOnce) Close() error {
	defer l.Listener.Close()
	if !l.broken.Swap(true) {
		panic("odd")
	}
	return nil
}

// TestServerThatHasServedIsRefused: net/http has given it a TLSConfig, which says
// nothing of TLS.
func TestServerThatHasServedIsRefused(t *testing.T) {
	srv := new(http.Server)
	l := memnet.Listen()
	l.Close()
	require.Error(t, srv.Serve(l))
	require.NotNil(t, srv.TLSConfig)
	a, _ := app(lifecycle.HTTP("web", srv))
	assert.ErrorContains(t, a.Run(t.Context()), "start web: its TLSConfig has no certificate; one is set by http2.ConfigureServer, too, and by net/http when a server serves")
}

// TestFloorOfAServerThatHasJustStarted: whether the signal comes before its Serve or
// after it, it has a listener, and so clients. One of them waits to be accepted.
func TestFloorOfAServerThatHasJustStarted(t *testing.T) {
	for name, server := range map[string]func() lifecycle.Component{
		"HTTP": func() lifecycle.Component { return lifecycle.HTTP("web", new(http.Server)) },
		"gRPC": func() lifecycle.Component {
			return lifecycle.Component{Name: "web", Server: &drain.Server{GRPC: &fakeGRPC{d: newDiary()}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 300 {
				synctest.Test(t, func(t *testing.T) {
					a, _ := app()
					a.Floor = time.Second
					l := memnet.Listen()
					accepted := make(chan error, 1)
					web := server()
					web.Listen = func(context.Context) (net.Listener, error) {
						go func() {
							nc, err := l.Dial(t.Context())
							if err == nil {
								nc.Close()
							}
							accepted <- err
						}()
						for range rand.N(20) {
							runtime.Gosched()
						}
						a.Shutdown("at once")
						return l, nil
					}
					a.Components = []lifecycle.Component{web}
					require.NoError(t, a.Run(t.Context()))
					require.GreaterOrEqual(t, a.Report().Took, time.Second)
					require.NoError(t, <-accepted)
				})
			}
		})
	}
}
