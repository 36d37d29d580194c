// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(idleEnv); mode != "" {
		idleProcess(mode)
		return
	}
	if mode := os.Getenv(serverEnv); mode != "" {
		serveMode(mode)
		return
	}
	if spec := os.Getenv(mutantEnv); spec != "" {
		serveMutant(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

// A rig is a server in a bubble, on a network in memory.
type rig struct {
	t      *testing.T
	srv    *drain.Server
	l      *memnet.Listener
	served chan error
}

func start(t *testing.T, srv *drain.Server, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, l: memnet.Listen(), served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h}
	go func() { r.served <- srv.Serve(r.l) }()
	synctest.Wait()
	return r
}

// drain drains the server in d, and checks that Serve has returned.
func (r *rig) drain(d time.Duration) (drain.Report, time.Duration, error) {
	r.t.Helper()
	t0 := time.Now()
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	report, err := r.srv.Drain(ctx)
	took := time.Since(t0)
	assert.Equal(r.t, http.ErrServerClosed, <-r.served)
	return report, took, err
}

// A client is one connection of one client.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := r.l.Dial(r.t.Context())
	require.NoError(r.t, err)
	return &client{r.t, nc, bufio.NewReader(nc)}
}

// get sends a request and returns its answer, whose body it has read.
func (c *client) get(path string) *http.Response {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)
	require.NoError(c.t, err)
	return c.answer()
}

func (c *client) answer() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	require.NoError(c.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(c.t, err)
	return resp
}

// waitClosed returns how long after t0 the server closes the connection.
func (c *client) waitClosed(t0 time.Time) time.Duration {
	c.t.Helper()
	_, err := c.br.ReadByte()
	require.ErrorIs(c.t, err, io.EOF)
	return time.Since(t0)
}

func ok(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }

func TestDrainTakesTheFloorWithoutTraffic(t *testing.T) {
	for _, tt := range []struct {
		name       string
		env        string
		floor      time.Duration
		wantWindow time.Duration
	}{
		{"none outside Kubernetes", "", 0, 0},
		{"default inside Kubernetes", "10.0.0.1", 0, drain.DefaultFloor},
		{"negative", "10.0.0.1", -1, 0},
		{"set", "", 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", tt.env)
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &drain.Server{Floor: tt.floor}, ok)
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, tt.wantWindow, took)
				assert.Equal(t, tt.wantWindow, report.Accept.Took)
				assert.True(t, report.Quiet)
			})
		})
	}
}

func TestQuietPeriod(t *testing.T) {
	t.Run("counts from T0 when there is traffic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Linger: -1}, ok)
			c := r.dial()
			c.get("/")
			time.Sleep(time.Minute)
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, drain.DefaultQuiet, report.Accept.Took)
			assert.Less(t, took, drain.DefaultQuiet+100*time.Millisecond)
		})
	})
	t.Run("starts again with each new connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: time.Second}, ok)
			for i := range 5 {
				time.AfterFunc(time.Duration(i+1)*700*time.Millisecond, func() {
					c := r.dial()
					assert.True(t, c.get("/").Close || i == 0, "after half the floor every answer says close")
					c.Close()
				})
			}
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 3500*time.Millisecond+drain.DefaultQuiet, report.Accept.Took)
			assert.Equal(t, report.Accept.Took, took)
			assert.True(t, report.Quiet)
			assert.EqualValues(t, 5, report.Total().Connections)
			assert.EqualValues(t, 5, report.Total().Requests)
		})
	})
	t.Run("is two fifths of a long floor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
			for _, at := range []time.Duration{3 * time.Second, 4500 * time.Millisecond} {
				time.AfterFunc(at, func() {
					c := r.dial()
					c.get("/")
					c.Close()
				})
			}
			report, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 6500*time.Millisecond, report.Accept.Took)
			assert.True(t, report.Quiet)
		})
	})
	t.Run("is not disturbed by probes or by silent connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: 2 * time.Second, Silent: -1}, ok)
			for i := range 4 {
				time.AfterFunc(time.Duration(i)*500*time.Millisecond, func() {
					c := r.dial()
					c.get("/readyz")
					c.Close()
					c = r.dial()
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: kube-probe/1.37\r\n\r\n")
					c.answer()
					c.Close()
					r.dial()
				})
			}
			report, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 2*time.Second, report.Accept.Took)
			assert.Less(t, took, 2*time.Second+100*time.Millisecond)
			assert.Zero(t, report.Total().Connections)
			assert.Zero(t, report.Total().Requests)
			assert.EqualValues(t, 4, report.Silent)
		})
	})
	t.Run("ends at the cap, which is half of the time given", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{}, ok)
			first := r.dial()
			first.get("/")
			stop := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					nc, err := r.l.Dial(t.Context())
					if err != nil {
						return
					}
					c := &client{t, nc, bufio.NewReader(nc)}
					c.get("/")
					c.Close()
					select {
					case <-stop:
						return
					case <-time.After(300 * time.Millisecond):
					}
				}
			}()
			first.Close()
			report, _, err := r.drain(20 * time.Second)
			close(stop)
			<-done
			require.NoError(t, err)
			assert.Equal(t, 10*time.Second, report.Accept.Took)
			assert.False(t, report.Quiet)
		})
	})
}

func TestIdleConnectionIsAnsweredThenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, ok)
		c := r.dial()
		assert.False(t, c.get("/").Close, "before T0 connections are kept")
		time.Sleep(time.Hour)
		time.AfterFunc(1500*time.Millisecond, func() {
			assert.True(t, c.get("/").Close, "the listener is closed, the connection is not")
			c.waitClosed(time.Now())
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 1500*time.Millisecond, took)
		assert.Equal(t, time.Second, report.Accept.Took)
		assert.EqualValues(t, 1, report.Told)
		assert.Zero(t, report.Idle)
	})
}

func TestIdleConnectionLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, ok)
		c := r.dial()
		c.get("/")
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, drain.DefaultLinger*4/5)
		assert.LessOrEqual(t, took, drain.DefaultLinger+20*time.Millisecond)
		assert.EqualValues(t, 1, report.Idle)
		c.waitClosed(time.Now())
	})
}

func TestSilentConnectionIsKeptForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, ok)
		c := r.dial()
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, drain.DefaultSilent+drain.LookWait, took)
		assert.Zero(t, report.Accept.Took)
		assert.EqualValues(t, 1, report.Silent)
		c.waitClosed(time.Now())
	})
}

func TestHalfSentRequestIsAnswered(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("on a kept connection %v", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &drain.Server{Linger: -1, Silent: -1, Quiet: -1}, ok)
				c := r.dial()
				if kept {
					c.get("/")
				}
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHo")
				synctest.Wait()
				time.AfterFunc(4*time.Second, func() {
					fmt.Fprint(c, "st: test\r\n\r\n")
					assert.True(t, c.answer().Close)
				})
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, 4*time.Second, took)
				assert.EqualValues(t, 1, report.Total().Requests)
			})
		})
	}
}

func TestRunningRequestIsWaitedForToTheInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(12345 * time.Millisecond)
			ok(w, r)
		})
		c := r.dial()
		answered := make(chan *http.Response, 1)
		go func() { answered <- c.get("/slow") }()
		synctest.Wait()
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		// The header says keep-alive, as it was decided before T0; so the
		// connection then lingers.
		assert.False(t, (<-answered).Close)
		assert.GreaterOrEqual(t, took, 12345*time.Millisecond+drain.DefaultLinger*4/5)
		assert.LessOrEqual(t, took, 12345*time.Millisecond+drain.DefaultLinger+20*time.Millisecond)
		assert.EqualValues(t, 1, report.Idle)
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(12345 * time.Millisecond)
			ok(w, r)
		})
		c := r.dial()
		time.AfterFunc(900*time.Millisecond, func() { assert.True(t, c.get("/slow").Close) })
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 900*time.Millisecond+12345*time.Millisecond, took)
	})
}

func TestDeadlineCancelsThenCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			t0 := time.Now()
			switch r.URL.Path {
			case "/polite":
				<-r.Context().Done()
				assert.ErrorIs(t, context.Cause(r.Context()), drain.ErrCut)
				assert.Equal(t, 28*time.Second-drain.CancelMargin, time.Since(t0))
				w.WriteHeader(http.StatusServiceUnavailable)
			case "/deaf":
				<-release
			}
		})
		polite, deaf := r.dial(), r.dial()
		answered := make(chan int, 1)
		go func() { answered <- polite.get("/polite").StatusCode }()
		closed := make(chan time.Duration, 1)
		go func() {
			fmt.Fprint(deaf, "GET /deaf HTTP/1.1\r\nHost: test\r\n\r\n")
			closed <- deaf.waitClosed(time.Now())
		}()
		synctest.Wait()

		report, took, err := r.drain(28 * time.Second)
		assert.Equal(t, 503, <-answered)
		assert.Equal(t, 28*time.Second, took, "a handler that ignores everything is waited for to the end")
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"GET /deaf (running for more than 27.5s)"}, report.Cut)
		assert.Contains(t, err.Error(), report.Cut[0])
		assert.Equal(t, 28*time.Second-drain.CutMargin, <-closed)
		close(release)
	})
}

func TestCancelledContextCutsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Hour}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c := r.dial()
		go fmt.Fprint(c, "GET /a HTTP/1.1\r\nHost: test\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		t0 := time.Now()
		_, err := r.srv.Drain(ctx)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, time.Second, time.Since(t0))
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		synctest.Wait()
		assert.Zero(t, r.srv.Stats().Open)
	})
}

func TestHijackedConnectionIsWaitedFor(t *testing.T) {
	hijack := func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		go func() {
			io.Copy(nc, nc)
			nc.Close()
		}()
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, hijack)
		c := r.dial()
		fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		synctest.Wait()
		time.AfterFunc(7*time.Second, func() { c.Close() })
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 7*time.Second, took)
		assert.Empty(t, report.Cut)
	})
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, hijack)
		c := r.dial()
		fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		synctest.Wait()
		report, took, err := r.drain(28 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 28*time.Second-drain.CutMargin, took)
		assert.Equal(t, []string{"hijacked connection from pipe"}, report.Cut)
		c.waitClosed(time.Now())
	})
}

func TestCallersHooksGoOnWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var states []http.ConnState
		shutdown := make(chan struct{})
		srv := &drain.Server{}
		l := memnet.Listen()
		srv.HTTP = &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "base+conn", r.Context().Value(key{}))
				_, flushes := w.(http.Flusher)
				_, hijacks := w.(http.Hijacker)
				_, readsFrom := w.(io.ReaderFrom)
				assert.True(t, flushes && hijacks && readsFrom)
			}),
			BaseContext: func(got net.Listener) context.Context {
				assert.Same(t, l, got)
				return context.WithValue(t.Context(), key{}, "base")
			},
			ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
				assert.Equal(t, "*net.pipe", fmt.Sprintf("%T", nc), "the connection as it was accepted")
				return context.WithValue(ctx, key{}, ctx.Value(key{}).(string)+"+conn")
			},
			ConnState: func(nc net.Conn, s http.ConnState) {
				states = append(states, s)
				assert.Equal(t, "*net.pipe", fmt.Sprintf("%T", nc), "the connection as it was accepted")
			},
		}
		srv.HTTP.RegisterOnShutdown(func() { close(shutdown) })
		r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(l) }()
		c := r.dial()
		c.get("/")
		c.Close()
		_, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		<-shutdown
		assert.Equal(t, []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateClosed}, states)
	})
}

func TestDrainIsIdempotentAndFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, ok)
		reports := make(chan drain.Report, 3)
		for range cap(reports) {
			go func() {
				report, err := r.srv.Drain(t.Context())
				assert.NoError(t, err)
				reports <- report
			}()
		}
		first := <-reports
		assert.Equal(t, time.Second, first.Accept.Took)
		assert.Equal(t, first, <-reports)
		assert.Equal(t, first, <-reports)
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		assert.Equal(t, http.ErrServerClosed, r.srv.Serve(memnet.Listen()))
		<-r.srv.AcceptWindowClosed()
	})
}

func TestServeWithoutHTTP(t *testing.T) {
	l := memnet.Listen()
	err := new(drain.Server).Serve(l)
	assert.EqualError(t, err, "drain: neither Server.HTTP nor Server.GRPC is set")
	_, err = l.Dial(t.Context())
	assert.ErrorIs(t, err, net.ErrClosed, "the listener is closed in every case")
}

func TestDrainWithoutServeReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &drain.Server{HTTP: new(http.Server), Floor: time.Minute}
		t0 := time.Now()
		_, err := srv.Drain(t.Context())
		require.NoError(t, err)
		assert.Zero(t, time.Since(t0))
	})
}

func TestIsProbe(t *testing.T) {
	for _, tt := range []struct {
		path, agent string
		want        bool
	}{
		{"/readyz", "", true},
		{"/livez", "curl/8", true},
		{"/servingz", "curl/8", true},
		{"/work", "kube-probe/1.37", true},
		{"/work", "ELB-HealthChecker/2.0", true},
		{"/work", "GoogleHC/1.0", true},
		{"/grpc.health.v1.Health/Check", "", true},
		{"/work", "curl/8", false},
		{"/readyz/db", "curl/8", false},
	} {
		r, err := http.NewRequest("GET", "http://test"+tt.path, nil)
		require.NoError(t, err)
		r.Header.Set("User-Agent", tt.agent)
		assert.Equal(t, tt.want, drain.IsProbe(r), "%s %s", tt.path, tt.agent)
	}
}

func TestUpgradeKeepsItsConnectionHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "echo")
			w.Header().Add("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
		})
		c := r.dial()
		time.AfterFunc(700*time.Millisecond, func() {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			resp, err := http.ReadResponse(c.br, nil)
			require.NoError(t, err)
			assert.Equal(t, "Upgrade", strings.Join(resp.Header["Connection"], ", "))
			c.Close()
		})
		_, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
	})
}
