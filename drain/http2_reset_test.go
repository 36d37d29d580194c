// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// The client resets a stream, which makes the connection idle to net/http while
// the handler goes on.
func TestHTTP2HandlerOfAResetStreamIsWaitedForAndNoLonger(t *testing.T) {
	for range 20 { // net/http may still take the connection for active when Drain looks
		synctest.Test(t, func(t *testing.T) {
			r := startTLS(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					time.Sleep(5 * time.Second)
				}
			})
			transport := &http.Transport{
				TLSClientConfig:   clientTLS(),
				ForceAttemptHTTP2: true,
				DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return r.l.Dial(ctx) },
			}
			defer transport.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "https://test/slow", nil)
			require.NoError(t, err)
			_, err = transport.RoundTrip(req)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, took, 4*time.Second)
			assert.LessOrEqual(t, took, 5*time.Second, "net/http waits for a second after its GOAWAY")
			r.nothingOpen()
		})
	}
}

// The handlers of streams that are reset at once begin when net/http has called
// their connection idle again.
func TestHTTP2StreamsThatAreResetAtOnceDoNotHoldTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &drain.Server{Quiet: -1, HTTP: &http.Server{Handler: http.HandlerFunc(ok), Protocols: new(http.Protocols)}}
		srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
		r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(l) }()
		for range 50 {
			c := r.dial()
			c.discard()
			// The preface in two parts, SETTINGS, HEADERS of GET / on stream 1, and its reset.
			io.WriteString(c, "P")
			io.WriteString(c, "RI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a"+
				"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08")
		}
		synctest.Wait()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Less(t, took, 4*time.Second, "no more than Shutdown's second for a GOAWAY")
		r.nothingOpen()
	})
}

// net/http starts the handler of a stream in a goroutine of its own, which may
// come to run when the connection has already ended.
func TestHTTP2HandlersThatBeginAfterTheEndOfTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(ok), Protocols: new(http.Protocols)}}
		srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
		r := &rig{t: t, srv: srv, l: l, served: make(chan error, 1)}
		go func() { r.served <- srv.Serve(l) }()
		for range 100 {
			c := r.dial()
			c.discard()
			// The preface, an empty SETTINGS frame, and GET / on streams 1 and 3.
			io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a"+
				"\x00\x00\x06\x01\x05\x00\x00\x00\x03\x82\x84\x86\x41\x01a")
			c.Close()
		}
		time.Sleep(time.Second)
		r.nothingOpen()
		c := r.dial() // whoever counts wrong waits for it, or does not
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, drain.DefaultSilent+drain.LookWait, took)
		c.waitClosed(time.Now())
		r.nothingOpen()
	})
}
