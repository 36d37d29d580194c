// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"io"
	"log"
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

func upper(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		io.WriteString(w, strings.ToUpper(string(body)))
	}
}

// A request that waits to be asked for its body is asked for it, and answered, at any
// moment of a drain.
func TestExpectContinueInTheDrain(t *testing.T) {
	for name, moment := range moments {
		t.Run("HTTP/1.1 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, upper(t))
				c := r.dial()
				c.get("/")
				r.drainAround(moment, func() {
					fmt.Fprint(c, "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
					resp := c.answer()
					assert.Equal(t, 100, resp.StatusCode)
					assert.Empty(t, resp.Header, "what the last answer says is not for this one")
					time.Sleep(100 * time.Millisecond)
					io.WriteString(c, "body")
					resp, err := http.ReadResponse(c.br, nil)
					if !assert.NoError(t, err) {
						return
					}
					body, err := io.ReadAll(resp.Body)
					assert.NoError(t, err)
					assert.Equal(t, "BODY", string(body))
					assert.Equal(t, moment > 0, resp.Close)
					c.Close()
				})
			})
		})
		t.Run("HTTP/2 "+name, func(t *testing.T) {
			bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
				r := start(&drain.Server{Floor: time.Second, Quiet: -1, Spread: -1}, upper(t))
				c := dial(r).http2("")
				c.mute = true
				synctest.Wait()
				r.drainAround(moment, func() {
					c.send(h2Headers, h2EndHeaders, 1, postRoot+"\x00\x06expect\x0c100-continue")
					time.Sleep(100 * time.Millisecond)
					got := c.of(h2Headers)
					if assert.Len(t, got, 1) {
						assert.Equal(t, "\x4e\x82\x08\x01", got[0].payload, ":status 100 and nothing else")
						assert.Zero(t, got[0].flags&h2EndStream)
					}
					c.send(h2Data, h2EndStream, 1, "body")
					time.Sleep(100 * time.Millisecond)
					assert.True(t, c.answered(1))
					assert.Equal(t, "BODY", c.of(h2Data)[0].payload)
					c.Close()
				})
			})
		})
	}
}

// An answer that does not wait for the whole of its request is followed by a reset, and
// the trailers that come after that are the end of the connection, with PROTOCOL_ERROR:
// so it is in net/http, and a drain changes nothing of it.
func TestHTTP2TrailersAfterAnEarlyAnswer(t *testing.T) {
	tooLarge := func(t *testing.T) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 4))
			if assert.ErrorAs(t, err, new(*http.MaxBytesError)) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		}
	}
	trailers := "\x00\x03end\x01x"
	upload := func(t *testing.T, c *h2Client) (last h2Frame) {
		c.send(h2Headers, h2EndHeaders, 1, postRoot+"\x00\x07trailer\x03end")
		c.send(h2Data, 0, 1, "too large")
		time.Sleep(time.Millisecond)
		assert.True(t, c.answered(1), "it has its 413")
		assert.Equal(t, []h2Frame{{h2RSTStream, 0, 1, "\x00\x00\x00\x00"}}, c.of(h2RSTStream), "no error")
		c.send(h2Headers, h2EndStream|h2EndHeaders, 1, trailers)
		time.Sleep(100 * time.Millisecond)
		if fs := c.of(h2GoAway); len(fs) > 0 {
			last = fs[len(fs)-1]
		}
		c.Close()
		return last
	}
	silent := log.New(io.Discard, "", 0)
	const protocolError = "\x00\x00\x00\x01"
	t.Run("net/http", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := &http.Server{Handler: tooLarge(t), ErrorLog: silent, Protocols: new(http.Protocols)}
			srv.Protocols.SetUnencryptedHTTP2(true)
			r := &rig{t: t, l: memnet.Listen(), served: make(chan error, 1)}
			go func() { r.served <- srv.Serve(r.l) }()
			got := upload(t, r.dial().http2(""))
			require.NoError(t, srv.Close())
			<-r.served
			if assert.NotEmpty(t, got.payload) {
				assert.Equal(t, protocolError, got.payload[4:8])
			}
		})
	})
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
				r := start(&drain.Server{Floor: time.Second, Quiet: -1, Spread: -1}, tooLarge(t))
				r.srv.HTTP.ErrorLog = silent
				c := dial(r).http2("")
				c.mute = true
				synctest.Wait()
				r.drainAround(moment, func() {
					if got := upload(t, c); assert.NotEmpty(t, got.payload) {
						assert.Equal(t, protocolError, got.payload[4:8])
					}
				})
			})
		})
	}
}
