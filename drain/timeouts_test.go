// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// timeouts are the ends of connections whose clients a server with time-outs of a second
// has had enough of, from the beginning on, and what a handler has read until then.
type timeouts struct {
	idle, half, body, silent, slow time.Duration
	read                           string
}

// playTimeouts has clients of all kinds use up the time that a server gives them.
func playTimeouts(t *testing.T, r *rig) (got timeouts) {
	t0 := time.Now()
	post := "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n"
	idle := r.dial()
	idle.get("/")
	var ends []chan time.Duration
	watch := func(c *client) {
		end := make(chan time.Duration, 1)
		ends = append(ends, end)
		go func() {
			io.Copy(io.Discard, c.br)
			end <- time.Since(t0)
		}()
	}
	watch(idle)
	half, body, slow := r.dial(), r.dial(), r.dial()
	watch(half)
	fmt.Fprint(half, "GET / HTTP/1.1\r\nHo")
	watch(body)
	fmt.Fprint(body, post+"half.")
	watch(r.dial())
	answered := make(chan time.Duration, 1)
	go func() {
		assert.Equal(t, 200, slow.get("/slow").StatusCode)
		answered <- time.Since(t0)
		slow.Close()
	}()
	return timeouts{idle: <-ends[0], half: <-ends[1], body: <-ends[2], silent: <-ends[3], slow: <-answered}
}

// In an accept window that is longer than the server's time-outs connections end as
// net/http ends them, and no request that has begun is lost.
func TestTimeoutsWithinTheAcceptWindow(t *testing.T) {
	const timeout, slow, window = time.Second, 3 * time.Second, 5 * time.Second
	newServer := func(t *testing.T, read *string) *http.Server {
		return &http.Server{
			IdleTimeout: timeout,
			ReadTimeout: timeout,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/body":
					body, err := io.ReadAll(r.Body)
					assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
					*read = string(body)
				case "/slow":
					time.Sleep(slow)
				}
			}),
		}
	}
	var plain, ours timeouts
	synctest.Test(t, func(t *testing.T) {
		var read string
		srv := newServer(t, &read)
		r := &rig{t: t, l: memnet.Listen(), served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(r.l) }()
		plain = playTimeouts(t, r)
		plain.read = read
		require.NoError(t, srv.Close())
		<-r.served
	})
	synctest.Test(t, func(t *testing.T) {
		var read string
		r := &rig{t: t, l: memnet.Listen(), served: make(chan error, 1)}
		r.srv = &drain.Server{HTTP: newServer(t, &read), Floor: window, Quiet: -1}
		go func() { r.served <- r.srv.Serve(r.l) }()
		synctest.Wait()
		done := make(chan struct{})
		time.AfterFunc(1, func() { // once the drain has begun, and before answers say close
			defer close(done)
			ours = playTimeouts(t, r)
		})
		report, took, err := r.drain(28 * time.Second)
		<-done
		ours.read = read
		require.NoError(t, err)
		assert.Equal(t, window, took, "nothing is left by then")
		assert.EqualValues(t, 3, report.Total().Requests)
		assert.Zero(t, report.Idle+report.Silent+report.Unfinished, "they have ended by themselves")
		r.nothingOpen()
	})
	assert.Equal(t, plain, ours)
	assert.Equal(t, timeouts{timeout, timeout, timeout, timeout, slow, "half."}, ours)
}

// So do those of HTTP/2, whose clients are told besides.
func TestHTTP2TimeoutsWithinTheAcceptWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				_, err := io.ReadAll(r.Body)
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			} else {
				time.Sleep(2 * time.Second)
			}
			ok(w, r)
		}
		r := &rig{t: t, l: memnet.Listen(), served: make(chan error, 1)}
		r.srv = &drain.Server{Floor: 5 * time.Second, Quiet: -1, Spread: -1, HTTP: &http.Server{
			Handler:     http.HandlerFunc(handler),
			IdleTimeout: time.Second,
			ReadTimeout: time.Second,
			Protocols:   new(http.Protocols),
		}}
		r.srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
		go func() { r.served <- r.srv.Serve(r.l) }()
		synctest.Wait()
		t0 := time.Now()
		idle, busy := r.dial().http2(""), r.dial().http2("")
		busy.mute = true
		synctest.Wait()
		ended := make(chan time.Duration, 2)
		for _, c := range []*h2Client{idle, busy} {
			go func() {
				<-c.end
				ended <- time.Since(t0)
			}()
		}
		time.AfterFunc(500*time.Millisecond, func() {
			busy.get(1)
			busy.send(h2Headers, h2EndHeaders, 3, postRoot)
			busy.send(h2Data, 0, 3, "half.")
			time.Sleep(1100 * time.Millisecond)
			assert.True(t, busy.answered(3), "its body has had its second")
			assert.False(t, busy.answered(1))
			busy.send(h2Ping, h2Ack, 0, busy.of(h2Ping)[0].payload)
		})
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, took, "nothing is left by then")
		assert.Equal(t, 2*time.Second, <-ended, "idle for a second, and net/http's after its GOAWAY")
		assert.Equal(t, 4500*time.Millisecond, <-ended, "idle for a second after the answer")
		assert.True(t, busy.answered(1))
		assert.Equal(t, []uint32{highestStream, 3}, busy.goAways())
		r.nothingOpen()
	})
}
