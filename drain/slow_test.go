// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// drip sends a header that never ends, a byte a second, until the server has had
// enough.
func drip(c net.Conn) {
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nX: ")
	for err == nil {
		time.Sleep(time.Second)
		_, err = io.WriteString(c, "x")
	}
}

func TestSlowlorisEndsAtTheCutBesideAServedClient(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("on kept connections %v", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 100
				var dripping sync.WaitGroup
				r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
				for range n {
					c := r.dial()
					if kept {
						c.get("/")
					}
					dripping.Go(func() { drip(c) })
				}
				answers := make(chan int, 1)
				go func() { // asks every 100 ms, and dials again when told to go
					c := r.dial()
					for i := 0; ; i++ {
						if c.get("/").Close {
							c.waitClosed(time.Now())
							nc, err := r.l.Dial(t.Context())
							if err != nil {
								answers <- i + 1
								return
							}
							c = &client{t, nc, bufio.NewReader(nc)}
						}
						time.Sleep(100 * time.Millisecond)
					}
				}()
				time.Sleep(1050 * time.Millisecond)
				assert.Equal(t, n+1, r.srv.Stats().Open)

				report, took, err := r.drain(20 * time.Second)
				assert.Equal(t, 20*time.Second-drain.CutMargin, took)
				require.ErrorIs(t, err, drain.ErrCut)
				require.Len(t, report.Cut, n)
				assert.Equal(t, "unfinished request from pipe", report.Cut[0])
				assert.ErrorContains(t, err, fmt.Sprintf("; and %d more", n-10))
				// It comes back on a new connection all the while, so the
				// window lasts for 10 s, half of the time given.
				assert.Greater(t, <-answers, 100)
				r.nothingOpen()
				dripping.Wait()
			})
		})
	}
}

// A body that drips is a request that a handler serves: it is waited for, and
// named when it is cut.
func TestDrippingBodyIsNamedWhenItIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			assert.Error(t, err)
		})
		c := r.dial()
		c.discard()
		fmt.Fprint(c, "POST /slow HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")
		var dripping sync.WaitGroup
		dripping.Go(func() { drip(c) })
		synctest.Wait()
		report, took, err := r.drain(20 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 20*time.Second-drain.CutMargin, took)
		assert.Equal(t, []string{"POST /slow (running for more than 19.5s)"}, report.Cut)
		r.nothingOpen()
		dripping.Wait()
	})
}

// A client that sends a byte now and then does not hold the drain: its time counts
// from the first byte that the drain has seen.
func TestDrippingHeaderDoesNotHoldTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Quiet: -1}, ok)
		c := r.dial()
		c.discard()
		dripping := make(chan struct{})
		go func() {
			defer close(dripping)
			for _, err := io.WriteString(c, "G"); err == nil; _, err = io.WriteString(c, "E") {
				time.Sleep(4 * time.Second)
			}
		}()
		synctest.Wait()
		_, took, err := r.drain(time.Minute)
		require.NoError(t, err)
		assert.LessOrEqual(t, took, 5*time.Second+20*time.Millisecond)
		<-dripping
		r.nothingOpen()
	})
}
