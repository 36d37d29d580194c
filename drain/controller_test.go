// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// What a handler asks of its ResponseController reaches the connection at any moment.
func TestResponseControllerAcrossTheDrain(t *testing.T) {
	for name, moment := range moments {
		t.Run("HTTP/1.1 "+name, func(t *testing.T) {
			t.Run("SetReadDeadline", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, readUntilDeadline(t))
					c := r.dial()
					c.get("/")
					r.drainAround(moment, func() {
						fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf.")
						assert.Equal(t, 408, c.answer().StatusCode)
						c.waitClosed(time.Now())
					})
				})
			})
			t.Run("SetWriteDeadline", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ended := make(chan struct{}, 1)
					r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, writeUntilDeadline(t, ended))
					c := r.dial()
					r.drainAround(moment, func() {
						fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n") // and reads nothing
						<-ended
						c.Close()
					})
				})
			})
			t.Run("EnableFullDuplex", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, echoInHalves(t))
					c := r.dial()
					r.drainAround(moment, func() {
						fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n")
						resp, err := http.ReadResponse(c.br, nil) // it comes before the body
						require.NoError(t, err)
						half := make([]byte, 5)
						for _, want := range []string{"half.", "other"} {
							io.WriteString(c, want)
							_, err = io.ReadFull(resp.Body, half)
							assert.NoError(t, err)
							assert.Equal(t, want, string(half))
						}
						assert.Equal(t, moment > 0, resp.Close)
						c.Close()
					})
				})
			})
		})
		t.Run("HTTP/2 "+name, func(t *testing.T) {
			t.Run("SetReadDeadline", func(t *testing.T) {
				bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
					r := start(&drain.Server{Floor: time.Second, Quiet: -1}, readUntilDeadline(t))
					c := dial(r).http2("")
					c.mute = true
					c.get(1)
					synctest.Wait()
					r.drainAround(moment, func() {
						c.send(h2Headers, h2EndHeaders, 3, postRoot)
						c.send(h2Data, 0, 3, "half.")
						<-c.end
						assert.True(t, c.answered(3))
					})
				})
			})
			t.Run("SetWriteDeadline", func(t *testing.T) {
				bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
					ended := make(chan struct{}, 1)
					r := start(&drain.Server{Floor: time.Second, Quiet: -1}, writeUntilDeadline(t, ended))
					c := dial(r).http2("")
					c.mute = true
					c.send(h2Settings, 0, 0, "\x00\x04\x00\x00\x00\x00") // no window at all
					r.drainAround(moment, func() {
						c.get(1)
						<-ended
						<-c.end
						assert.Len(t, c.of(h2RSTStream), 1)
					})
				})
			})
			t.Run("EnableFullDuplex", func(t *testing.T) {
				bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
					r := start(&drain.Server{Floor: time.Second, Quiet: -1}, echoInHalves(t))
					c := dial(r).http2("")
					c.mute = true
					r.drainAround(moment, func() {
						c.send(h2Headers, h2EndHeaders, 1, postRoot)
						time.Sleep(time.Millisecond)
						assert.Len(t, c.of(h2Headers), 1, "it comes before the body")
						c.send(h2Data, 0, 1, "half.")
						time.Sleep(time.Millisecond)
						c.send(h2Data, h2EndStream, 1, "other")
						<-c.end
						assert.True(t, c.answered(1))
						var got strings.Builder
						for _, f := range c.of(h2Data) {
							got.WriteString(f.payload)
						}
						assert.Equal(t, "half.other", got.String())
					})
				})
			})
		})
	}
}

// readUntilDeadline returns a handler that gives a body that does not come a second.
func readUntilDeadline(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		t0 := time.Now()
		assert.NoError(t, http.NewResponseController(w).SetReadDeadline(t0.Add(time.Second)))
		body, err := io.ReadAll(r.Body)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, "half.", string(body))
		assert.Equal(t, time.Second, time.Since(t0))
		w.WriteHeader(http.StatusRequestTimeout)
	}
}

// writeUntilDeadline returns a handler that gives a client that does not read a second.
func writeUntilDeadline(t *testing.T, ended chan<- struct{}) http.HandlerFunc {
	much := bytes.Repeat([]byte("x"), 1<<20)
	return func(w http.ResponseWriter, r *http.Request) {
		t0 := time.Now()
		assert.NoError(t, http.NewResponseController(w).SetWriteDeadline(t0.Add(time.Second)))
		_, err := w.Write(much)
		if r.ProtoMajor == 1 {
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		} else {
			assert.Error(t, err) // the stream has been reset
		}
		assert.Equal(t, time.Second, time.Since(t0))
		ended <- struct{}{}
	}
}

// echoInHalves returns a handler that answers before it has read.
func echoInHalves(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		assert.NoError(t, control.EnableFullDuplex())
		w.WriteHeader(http.StatusOK)
		assert.NoError(t, control.Flush())
		half := make([]byte, 5)
		for range 2 {
			_, err := io.ReadFull(r.Body, half)
			assert.NoError(t, err)
			w.Write(half)
			assert.NoError(t, control.Flush())
		}
	}
}
