// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
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
