// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// A client is told to go before any of its streams is refused, and those that it has
// opened before it knows are answered.
func TestHTTP2ClientIsToldToGoInTwoSteps(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Floor: time.Second, Spread: -1}, ok)
		c := dial(r).http2("")
		c.get(1)
		synctest.Wait()
		require.True(t, c.answered(1))
		c.mute = true
		at := func(ms int, f func()) { time.AfterFunc(time.Duration(ms)*time.Millisecond, f) }
		at(100, func() {
			assert.Equal(t, []uint32{highestStream}, c.goAways())
			c.get(3)
			synctest.Wait()
			assert.True(t, c.answered(3))
			assert.Len(t, c.goAways(), 1, "nothing is refused before the client knows")
			pings := c.of(h2Ping)
			require.Len(t, pings, 1)
			c.send(h2Ping, h2Ack, 0, pings[0].payload)
			c.get(5)
			synctest.Wait()
			assert.True(t, c.answered(5))
			assert.Equal(t, []uint32{highestStream, 5}, c.goAways())
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 1100*time.Millisecond, took, "net/http's second after its GOAWAY")
		assert.EqualValues(t, 1, report.GoAway)
		assert.Zero(t, report.GoAwayOnce)
		assert.EqualValues(t, 1, report.Told)
		assert.EqualValues(t, 2, report.Total().Requests)
		<-c.end
		r.nothingOpen()
	})
}

// One that does not answer is given its time.
func TestHTTP2ClientThatDoesNotAnswerIsWaitedFor(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Spread: -1}, ok)
		c := dial(r).http2("")
		c.mute = true
		synctest.Wait()
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, took, "two of ours and one of net/http's")
		assert.EqualValues(t, 1, report.GoAway)
		assert.Equal(t, []uint32{highestStream, 0}, c.goAways())
		<-c.end
		r.nothingOpen()
	})
}

// Nor does one that reads nothing hold the drain for longer, or a request of another.
func TestHTTP2ClientThatDoesNotReadHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startH2C(t, &drain.Server{Spread: -1}, ok)
		c := r.dial()
		synctest.Wait()
		io.WriteString(c, h2Preface)
		go io.WriteString(c, h2Frame{kind: h2Settings}.String())
		synctest.Wait()
		report, took, err := r.drain(8 * time.Second)
		require.NoError(t, err, "nothing was under way")
		assert.Equal(t, 2*time.Second, took)
		assert.EqualValues(t, 1, report.GoAwayOnce)
		assert.EqualValues(t, 1, report.Idle)
		c.Close()
		r.nothingOpen()
	})
}

// Newcomers of the accept window are told when it has closed: before, they would come
// back here.
func TestHTTP2NewcomersAreToldOnceTheWindowIsClosed(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Floor: 2 * time.Second, Quiet: -1}, ok)
		c := dial(r).http2("")
		synctest.Wait()
		time.AfterFunc(1001*time.Millisecond, func() {
			synctest.Wait()
			assert.Equal(t, []uint32{highestStream}, c.goAways(), "in the first half of the time to be spread over")
			n := dial(r).http2("")
			time.Sleep(998 * time.Millisecond)
			n.get(1)
			synctest.Wait()
			assert.Empty(t, n.goAways())
			time.Sleep(502 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, []uint32{highestStream, 1}, n.goAways())
			n.Close()
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Less(t, took, 4*time.Second)
		assert.EqualValues(t, 2, report.GoAway)
		r.nothingOpen()
	})
}

// A connection whose preface or handshake is under way when the drain begins, or when
// the listeners are closed, is served, told to go, and holds nothing: net/http's
// Shutdown would not know of it (golang/go#81153).
func TestHTTP2ConnectionsThatAreJustBeginning(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Quiet: -1}, ok)
		c := dial(r)
		io.WriteString(c, h2Preface[:10])
		time.AfterFunc(1500*time.Millisecond, func() {
			begin := h2Preface + h2Frame{kind: h2Settings}.String()
			request := h2Frame{h2Headers, h2EndStream | h2EndHeaders, 1, getRoot}.String()
			io.WriteString(c, begin[10:]+request) // in one: no stream may follow the answer to the PING
			h := c.http2(begin)
			<-h.end
			assert.True(t, h.answered(1))
			assert.Equal(t, []uint32{highestStream, 1}, h.goAways())
		})
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 2500*time.Millisecond, took)
		r.nothingOpen()
	})
}

// Marked streams are told when their client knows where not to come back.
func TestHTTP2LongLivedStreamsAreToldAfterTheirClient(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Floor: time.Second, Spread: -1}, drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		})).ServeHTTP)
		c := dial(r).http2("")
		c.mute = true
		c.get(1)
		synctest.Wait()
		time.AfterFunc(300*time.Millisecond, func() {
			assert.False(t, c.answered(1))
			c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
			synctest.Wait()
			assert.True(t, c.answered(1))
			c.Close()
		})
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, time.Second, took)
		r.nothingOpen()
	})
}

// The answer to a PING that nobody has sent says nothing.
func TestHTTP2AnswerToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startH2C(t, &drain.Server{Spread: -1}, ok)
		c := r.dial().http2("")
		c.mute = true
		c.send(h2Ping, h2Ack, 0, "lameduck")
		synctest.Wait()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, took)
		r.nothingOpen()
	})
}

// Where net/http cannot be given a connection of another type, its own GOAWAY has to
// do, and the report says so.
func TestHTTP2InOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, srv: &drain.Server{Spread: -1}, l: memnet.Listen(), served: make(chan error, 1)}
		r.srv.HTTP = &http.Server{
			Handler:   http.HandlerFunc(ok),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}},
			ConnState: func(nc net.Conn, _ http.ConnState) { assert.IsType(t, (*tls.Conn)(nil), nc) },
		}
		closed := memnet.Listen()
		closed.Close()
		require.ErrorIs(t, r.srv.HTTP.Serve(closed), net.ErrClosed) // sets TLSNextProto
		delete(r.srv.HTTP.TLSNextProto, "unencrypted_http2")
		go func() { r.served <- r.srv.ServeTLS(r.l, "", "") }()
		c := r.dialHTTP2TLS().http2("")
		c.get(1)
		synctest.Wait()
		assert.True(t, c.answered(1))
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.GoAwayOnce)
		assert.Zero(t, report.GoAway)
		assert.Equal(t, []uint32{1}, c.goAways())
		r.nothingOpen()
	})
}

// What net/http gives handlers and hooks stays as it is.
func TestHTTP2OverTLSIsAsNetHTTPHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert := certificate(t)
		var hooked sync.Map // the connections that ConnState has seen
		r := &rig{t: t, srv: &drain.Server{Spread: -1}, l: memnet.Listen(), served: make(chan error, 1)}
		r.srv.HTTP = &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.NotNil(t, r.Context().Value(http.ServerContextKey))
				assert.Equal(t, "pipe", r.RemoteAddr)
				if assert.NotNil(t, r.TLS) {
					assert.Equal(t, "test", r.TLS.ServerName)
					assert.Len(t, r.TLS.PeerCertificates, 1)
					assert.True(t, r.TLS.HandshakeComplete)
				}
				if pusher, ok := w.(http.Pusher); assert.Equal(t, r.ProtoMajor == 2, ok) && ok {
					assert.ErrorIs(t, pusher.Push("/", nil), http.ErrNotSupported, "switched off by the client")
				}
				w.Header().Set("Trailer", "End")
				io.WriteString(w, r.Proto)
				w.Header().Set("End", "trailer")
			}),
			HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 7},
			TLSConfig: &tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
				ClientAuth:     tls.RequireAnyClientCert,
			},
			ConnState: func(nc net.Conn, state http.ConnState) {
				assert.IsType(t, (*tls.Conn)(nil), nc)
				hooked.Store(nc, state)
			},
		}
		go func() { r.served <- r.srv.ServeTLS(r.l, "", "") }()
		config := clientTLS()
		config.Certificates = []tls.Certificate{cert}
		for _, protocol := range []string{"HTTP/2.0", "HTTP/1.1"} {
			transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: protocol == "HTTP/2.0",
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.l.Dial(ctx) }}
			req, err := http.NewRequestWithContext(t.Context(), "GET", "https://test/", nil)
			require.NoError(t, err)
			resp, err := transport.RoundTrip(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, protocol, string(body))
			assert.Equal(t, "trailer", resp.Trailer.Get("End"))
			synctest.Wait() // the client's connection is idle
			transport.CloseIdleConnections()
		}
		time.Sleep(10 * time.Second) // a close_notify that nobody reads takes its time
		conns := 0
		for _, state := range hooked.Range {
			assert.Equal(t, http.StateClosed, state)
			conns++
		}
		assert.Equal(t, 2, conns, "one connection is the same one in every call")

		config.NextProtos = []string{"h2"}
		nc, err := r.l.Dial(t.Context())
		require.NoError(t, err)
		tc := tls.Client(nc, config)
		c := (&client{t, tc, bufio.NewReader(tc)}).http2("")
		synctest.Wait()
		assert.Contains(t, c.of(h2Settings)[0].payload, "\x00\x03\x00\x00\x00\x07", "MaxConcurrentStreams")
		c.Close()

		nc, err = r.l.Dial(t.Context())
		require.NoError(t, err)
		tc = tls.Client(nc, config)
		io.WriteString(tc, "GET / HTTP/1.1\r\nHost: test\r\n\r\n") // is no preface
		_, err = io.ReadAll(tc)
		assert.NoError(t, err, "it is closed")

		_, _, err = r.drain(time.Second)
		require.NoError(t, err)
		r.nothingOpen()
	})
}

// The functions of RegisterOnShutdown are called once, also when the last phase comes
// to the cut.
func TestHTTP2CutDoesNotShutDownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		r := startH2C(t, &drain.Server{Spread: -1}, ok)
		r.srv.HTTP.RegisterOnShutdown(func() { calls.Add(1) })
		c := r.dial().http2("")
		c.mute = true
		synctest.Wait()
		_, took, err := r.drain(3100 * time.Millisecond) // Shutdown's second begins after two of ours
		require.NoError(t, err)
		assert.Equal(t, 3100*time.Millisecond*19/20, took)
		synctest.Wait()
		assert.EqualValues(t, 1, calls.Load())
	})
}
