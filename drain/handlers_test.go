// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A handler of a connection that it has hijacked.
func hijacks(then func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		then(nc)
	}
}

func TestHandlersThatEndBadlyHoldNothing(t *testing.T) {
	abort := func(what any) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) {
			time.Sleep(3 * time.Second)
			panic(what)
		}
	}
	for _, tt := range []struct {
		name     string
		h        http.HandlerFunc
		hijacked int64
	}{
		{"panic", abort("no"), 0},
		{"http.ErrAbortHandler", abort(http.ErrAbortHandler), 0},
		{"hijack and close", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
		}), 1},
		{"hijack and close twice", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
			nc.Close()
		}), 1},
		{"hijack and close later", hijacks(func(nc net.Conn) {
			time.AfterFunc(3*time.Second, func() { nc.Close() })
		}), 1},
		{"hijack, close and go on", hijacks(func(nc net.Conn) {
			nc.Close()
			time.Sleep(3 * time.Second)
		}), 0},
		{"hijack, close and panic", hijacks(func(nc net.Conn) {
			time.Sleep(3 * time.Second)
			nc.Close()
			panic("no")
		}), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startMuted(t, &drain.Server{}, tt.h)
				c := r.dial()
				c.discard()
				c.send("/")
				time.Sleep(time.Second)
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.Equal(t, 2*time.Second, took)
				assert.Equal(t, tt.hijacked, report.Hijacked)
				assert.Zero(t, report.HijackedCut)
				assert.Empty(t, report.Cut)
				r.nothingOpen()
			})
		})
	}
}

// What a handler has hijacked and then forgotten is open for ever, unless
// somebody cuts it.
func TestHijackedAndForgottenIsCutAndCounted(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"return", hijacks(func(net.Conn) {})},
		{"panic", hijacks(func(net.Conn) { panic("no") })},
		{"http.ErrAbortHandler", hijacks(func(net.Conn) { panic(http.ErrAbortHandler) })},
		{"a second Hijack", func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_, _, err := control.Hijack()
			assert.NoError(t, err)
			_, _, err = control.Hijack()
			assert.ErrorIs(t, err, http.ErrHijacked)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startMuted(t, &drain.Server{}, tt.h)
				c := r.dial()
				c.send("/")
				synctest.Wait()
				assert.Equal(t, drain.Stats{Open: 1, Hijacked: 1}, r.srv.Stats())
				report, took, err := r.drain(20 * time.Second)
				require.ErrorIs(t, err, drain.ErrCut)
				assert.Equal(t, 20*time.Second-drain.CutMargin, took)
				assert.EqualValues(t, 1, report.HijackedCut)
				assert.Zero(t, report.Hijacked)
				assert.Equal(t, []string{"hijacked connection from pipe"}, report.Cut)
				c.waitClosed(time.Now())
				r.nothingOpen()
			})
		})
	}
}

// Middleware changes requests under the eyes of whoever reports them; -race has
// to like it. A mux and a Route are asked with what came in.
func TestHandlerMayMutateTheRequestThatIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &drain.Server{Route: func(r *http.Request) string { return r.Method + " " + r.URL.Path + "{$}" }}
		release := make(chan struct{})
		r := start(t, srv, func(w http.ResponseWriter, r *http.Request) {
			for {
				select {
				case <-release:
					return
				case <-time.After(time.Millisecond):
				}
				r.Method = "POST"
				r.URL.Path += "/other"
				r.URL, _ = r.URL.Parse("/third")
				r.Header.Set("Connection", "close")
			}
		})
		c := r.dial()
		c.discard()
		c.send("/original")
		synctest.Wait()
		report, _, err := r.drain(2 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"GET /original by route GET /original{$} (running for more than 1.9s)"}, report.Cut)
		close(release)
		synctest.Wait()
		r.nothingOpen()
	})
}

// A handler's own Connection header wins, so its client is not counted as told.
func TestHandlersOwnConnectionHeaderIsNotCountedAsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" {
				w.Header().Set("Connection", "keep-alive")
			}
		})
		c := r.dial()
		time.AfterFunc(500*time.Millisecond, func() {
			assert.False(t, c.get("/events").Close)
			assert.True(t, c.get("/").Close)
		})
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Told)
		r.nothingOpen()
	})
}
