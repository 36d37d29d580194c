// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// What else HTTP/1.1 can bring while a drain goes on.

func TestUploadUnderWayFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			assert.NoError(t, err)
			fmt.Fprint(w, n)
		})
		c := r.dial()
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf.")
		time.AfterFunc(10*time.Second, func() {
			fmt.Fprint(c, "half.")
			assert.Equal(t, 200, c.answer().StatusCode)
		})
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, 10*time.Second)
	})
}

func TestLongAnswerUnderWayFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				io.WriteString(w, "part ")
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		})
		c := r.dial()
		got := make(chan string, 1)
		go func() {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			resp, err := http.ReadResponse(c.br, nil)
			if assert.NoError(t, err) {
				body, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				got <- string(body)
			}
		}()
		time.Sleep(1500 * time.Millisecond)
		_, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, strings.Repeat("part ", 10), <-got)
	})
}

func TestPipelinedRequestsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			<-release
			ok(w, r)
		})
		c := r.dial()
		one := "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
		fmt.Fprint(c, one+one) // the first is being served when the drain begins
		synctest.Wait()
		time.AfterFunc(5*time.Second, func() { close(release) })
		go func() {
			assert.False(t, c.answer().Close)
			assert.True(t, c.answer().Close)
		}()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, took)
	})
}

func TestExpectContinueAcrossTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			_, err := io.Copy(w, r.Body)
			assert.NoError(t, err)
		})
		c := r.dial()
		go func() {
			fmt.Fprint(c, "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			assert.Equal(t, 100, c.answer().StatusCode)
			io.WriteString(c, "ok")
			assert.Equal(t, 200, c.answer().StatusCode)
		}()
		time.Sleep(time.Second)
		_, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
	})
}

func TestPanickingHandlerIsNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(http.ResponseWriter, *http.Request) {
			time.Sleep(3 * time.Second)
			panic(http.ErrAbortHandler)
		})
		c := r.dial()
		go fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		time.Sleep(time.Second)
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, took)
	})
}

// The server's own time-outs are deadlines on the same connection.
func TestServersTimeoutsGoOnWorking(t *testing.T) {
	t.Run("IdleTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := &drain.Server{Floor: 10 * time.Second}
			r := start(t, srv, ok)
			srv.HTTP.IdleTimeout = time.Second
			c := r.dial()
			c.get("/")
			t0 := time.Now()
			closed := make(chan time.Duration, 1)
			go func() { closed <- c.waitClosed(t0) }()
			_, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, time.Second, <-closed)
			assert.Equal(t, 10*time.Second, took)
		})
	})
	t.Run("no linger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := &drain.Server{Linger: -1, Quiet: -1}
			r := start(t, srv, ok)
			srv.HTTP.IdleTimeout = time.Hour
			c := r.dial()
			go c.get("/") // falls idle at about the time of the sweep
			_, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.LessOrEqual(t, took, 40*time.Millisecond)
		})
	})
	t.Run("ReadHeaderTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := &drain.Server{}
			r := start(t, srv, ok)
			srv.HTTP.ReadHeaderTimeout = 4 * time.Second // the drain's own is 5
			c := r.dial()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHo") // and no more
			go io.Copy(io.Discard, c)             // net/http says 400
			_, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, 4*time.Second, took)
		})
	})
}

// Some clients offer h2c on every request, and net/http never takes it.
func TestOfferOfH2cIsToldToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, ok)
		c := r.dial()
		time.AfterFunc(700*time.Millisecond, func() {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
			assert.True(t, c.answer().Close)
		})
		_, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
	})
}

// Idle connections are ended before the cut, through the same look for bytes,
// even if there was no time for them to linger.
func TestLateIdleConnectionsAreEndedBeforeTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Linger: time.Hour}, ok)
		c := r.dial()
		c.get("/")
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Idle)
		assert.Equal(t, 28*time.Second-drain.CancelMargin+drain.LookWait, took)
	})
}

func TestStalledHeaderDoesNotHoldTheDrain(t *testing.T) {
	for _, tt := range []struct{ name, after, bytes string }{
		{"one byte", "", "G"},
		{"a stray line after a POST", "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n", "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &drain.Server{Quiet: -1}, ok)
				c := r.dial()
				if tt.after != "" {
					fmt.Fprint(c, tt.after)
					c.answer()
				}
				fmt.Fprint(c, tt.bytes)
				go io.Copy(io.Discard, c)
				synctest.Wait()
				_, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.LessOrEqual(t, took, 5*time.Second+40*time.Millisecond)
			})
		})
	}
}

func TestTLSListenerIsRefusedByServe(t *testing.T) {
	l := tls.NewListener(memnet.Listen(), &tls.Config{})
	err := (&drain.Server{HTTP: new(http.Server)}).Serve(l)
	assert.EqualError(t, err, "drain: Serve was given a TLS listener; use ServeTLS with the one inside")
}
