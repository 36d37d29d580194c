// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// hinted answers with a 103 first.
func hinted(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusEarlyHints)
	ok(w, r)
}

// An answer that begins with a 103 tells the client as any other does. The header is in
// the 103 already, since net/http sends there what is set by then.
func TestEarlyHintsInTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, hinted)
		c := r.dial()
		get := func() (said []string) {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			in := textproto.NewReader(c.br)
			for range 2 {
				status, err := in.ReadLine()
				assert.NoError(t, err)
				header, err := in.ReadMIMEHeader()
				assert.NoError(t, err)
				said = append(said, strings.TrimSpace(strings.TrimPrefix(status, "HTTP/1.1 ")+" "+header.Get("Connection")))
			}
			_, err := io.CopyN(io.Discard, c.br, 2)
			assert.NoError(t, err)
			return said
		}
		assert.Equal(t, []string{"103 Early Hints", "200 OK"}, get())
		time.AfterFunc(1200*time.Millisecond, func() {
			assert.Equal(t, []string{"103 Early Hints close", "200 OK close"}, get())
			c.waitClosed(time.Now())
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Told)
		assert.Equal(t, 1200*time.Millisecond, took)
	})
}

// Over HTTP/2 it has no Connection header, and the ResponseWriter can do what it could.
func TestHTTP2EarlyHintsInTheDrain(t *testing.T) {
	const connection = "@\x87!\xea\xa8\xa4I\x8f" // the name as HPACK has it first
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		can := func(w http.ResponseWriter) string {
			_, flushes := w.(http.Flusher)
			_, pushes := w.(http.Pusher)
			_, writes := w.(io.StringWriter)
			_, notifies := w.(http.CloseNotifier) //lint:ignore SA1019 gin's own asks for it
			return fmt.Sprint(flushes, pushes, writes, notifies, http.NewResponseController(w).SetWriteDeadline(time.Time{}))
		}
		r := start(&drain.Server{Floor: time.Second, Spread: -1}, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "true true true true <nil>", can(w))
			hinted(w, r)
		})
		c := dial(r).http2("")
		c.get(1)
		synctest.Wait()
		time.AfterFunc(500*time.Millisecond, func() { c.get(3) })
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.GoAway)
		assert.True(t, c.answered(3))
		var with []int // of the header blocks: a 103 and a 200, for 1 and for 3
		for i, f := range c.of(h2Headers) {
			if strings.Contains(f.payload, connection) {
				with = append(with, i)
			}
		}
		assert.Empty(t, with, "a client resets such a stream")
	})
}
