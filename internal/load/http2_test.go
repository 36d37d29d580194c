// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The frames of HTTP/2 (RFC 9113) that a server without a library needs.
const (
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoAway   = 7

	endStream, endHeaders = 1, 4
	refusedStream         = 7
)

func frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = binary.BigEndian.AppendUint32(append(b, flags), stream)
	return append(b, payload...)
}

func answer(stream uint32) []byte {
	return frame(frameHeaders, endStream|endHeaders, stream, 0x88) // ":status: 200", by its index
}

func refuse(stream uint32) []byte { return frame(frameReset, 0, stream, 0, 0, 0, refusedStream) }

// goAway says that last is the last stream that is answered, and that all is well.
func goAway(last uint32) []byte {
	return frame(frameGoAway, 0, 0, 0, 0, byte(last>>8), byte(last), 0, 0, 0, 0)
}

// A reaction is what a server writes when it has seen the header of a request. Nil
// ends the connection.
type reaction func(stream uint32) []byte

// An http2Script is a server that does to the n-th request what its n-th reaction
// says, whatever the connection.
type http2Script struct {
	l         net.Listener
	reactions []reaction
	greeting  []byte // for each connection
	leaves    bool   // after the greeting
	served    sync.WaitGroup
	begun     atomic.Int32 // HEADERS frames seen
	accepted  atomic.Int32
}

func startScript(t *testing.T, reactions ...reaction) *http2Script {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http2Script{l: l, reactions: reactions}
	s.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			s.served.Go(func() { s.serve(c) })
		}
	})
	return s
}

func (s *http2Script) stop() {
	s.l.Close()
	s.served.Wait()
}

func (s *http2Script) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", s.l.Addr().String())
}

func (s *http2Script) serve(c net.Conn) {
	defer c.Close()
	io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	c.Write(append(frame(frameSettings, 0, 0), s.greeting...))
	for !s.leaves {
		head := make([]byte, 9)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		word := binary.BigEndian.Uint32(head)
		if _, err := io.CopyN(io.Discard, c, int64(word>>8)); err != nil {
			return
		}
		if byte(word) != frameHeaders {
			continue
		}
		n := int(s.begun.Add(1))
		if n > len(s.reactions) || s.reactions[n-1] == nil {
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c) // a close before the last byte is read would be a reset
			return
		}
		c.Write(s.reactions[n-1](binary.BigEndian.Uint32(head[5:])))
	}
}

// Whatever becomes of a request: it is counted once, and the server sees it once.
func TestHTTP2RequestsAreSentOnce(t *testing.T) {
	reactions := []reaction{
		answer,
		refuse,
		answer, // on the same connection
		nil,
		// The next request finds that it has to dial, and none is lost.
		func(stream uint32) []byte { return append(goAway(stream), answer(stream)...) },
		answer,
		func(stream uint32) []byte { return goAway(stream - 2) },
		answer,
		func(stream uint32) []byte {
			return frame(frameHeaders, endStream|endHeaders, stream, 0x8e) // ":status: 500"
		},
		func(stream uint32) []byte { return frame(frameHeaders, endHeaders, stream, 0x88) }, // and no more
		answer,
	}
	want := []Cause{OK, Reset, OK, Closed, OK, OK, GoAway, OK, Status, Timeout, OK}
	const dials = 5 // the first one, and after nil, both GOAWAYs and the time-out
	for name, kind := range map[string]Kind{
		"GET":       {Method: "GET"},
		"POST":      {},
		"streaming": {Streaming: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScript(t, reactions...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var got []Cause
			kind.Proto = "h2c"
			c := &Client{Kind: kind, Path: "/", Dial: s.dial, timeout: 500 * time.Millisecond, Record: func(r Result) {
				got = append(got, r.Cause)
				assert.Equal(t, r.Cause == OK, r.Err == nil, "%v: %v", r.Cause, r.Err)
				if len(got) == len(want) {
					cancel()
				}
			}}
			c.Run(ctx)
			s.stop()
			assert.Equal(t, want, got)
			assert.EqualValues(t, len(want), s.begun.Load())
			assert.EqualValues(t, dials, s.accepted.Load())
		})
	}
}

// The control for the test above: its server notices what net/http sends again.
func TestTransportSendsAgain(t *testing.T) {
	s := startScript(t, refuse, answer)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.l.Addr().String(), nil)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err, "so no loss is seen")
	resp.Body.Close()
	transport.CloseIdleConnections()
	s.stop()
	assert.EqualValues(t, 2, s.begun.Load())
}

// A connection that was told to go is not to blame for a request that it has not
// taken, nor is a kept one that has ended. One that was dialled for the request and
// has ended is.
func TestHTTP2ConnectionThatEndsUnused(t *testing.T) {
	for _, tt := range []struct {
		ends, dialled, lost bool
	}{
		{false, false, false},
		{false, true, false},
		{true, false, false},
		{true, true, true},
	} {
		s := startScript(t)
		s.greeting, s.leaves = goAway(0), tt.ends
		h := &http2Client{Client: &Client{Kind: Kind{Proto: "h2c"}, Path: "/", Dial: s.dial, timeout: time.Second}}
		conn, dialled := h.acquire(t.Context())
		assert.True(t, dialled)
		require.NoError(t, conn.err)
		require.Eventually(t, func() bool { return tt.ends && conn.Err() != nil || !tt.ends && conn.Available() == 0 },
			time.Minute, time.Millisecond)
		var r Result
		assert.Equal(t, tt.lost, h.sendOn(t.Context(), conn, tt.dialled, &r), "%+v", tt)
		assert.NotEqual(t, OK, r.Cause)
		h.release(conn)
		assert.Nil(t, h.conn, "the next request dials")
		s.stop()
		assert.Zero(t, s.begun.Load())
	}
}

// All streams of a client wait for one dial, and each request is lost with it.
func TestHTTP2DialThatFails(t *testing.T) {
	s := startScript(t)
	s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &Client{Kind: Kind{Proto: "h2", Streams: 4}, Path: "/", Dial: s.dial, Record: func(r Result) {
		assert.Equal(t, Refused, r.Cause)
		assert.False(t, r.Reused)
		assert.Empty(t, r.Local)
		cancel()
	}}
	c.Run(ctx)
}

// A server that does not speak HTTP/2 is not taken for one that does.
func TestHTTP2IsNotHTTP1(t *testing.T) {
	for proto, spoken := range map[string]string{"h2": "http/1.1 over TLS", "h2c": "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			f := &fleet{t: t, proto: spoken}
			f.start()
			defer f.stop()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := &Client{Kind: Kind{Proto: proto}, Path: "/", Dial: f.dial, Record: func(r Result) {
				assert.NotEqual(t, OK, r.Cause)
				t.Log(r.Cause, r.Err)
				cancel()
			}}
			c.Run(ctx)
		})
	}
}

// All streams of a client are under way at once on one connection, or each on its
// own.
func TestHTTP2Streams(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  Kind
		conns int
	}{
		{"one", Kind{Proto: "h2c"}, 1},
		{"4", Kind{Proto: "h2", Streams: 4, Method: "GET"}, 1},
		{"100 streaming", Kind{Proto: "h2c", Streams: 100, Streaming: true}, 1},
		{"new connections", Kind{Proto: "h2c", Streams: 5, NewConn: true}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var here sync.WaitGroup
			here.Add(max(tt.kind.Streams, 1))
			f := &fleet{t: t, proto: tt.kind.Proto, handler: func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, tt.kind.Streaming, r.ContentLength < 0)
				here.Done()
				here.Wait()
			}}
			f.start()
			ctx, cancel := context.WithCancel(t.Context())
			dials, conns := 0, make(map[string]int)
			c := &Client{Kind: tt.kind, Path: "/", Dial: f.dial, Record: func(r Result) {
				assert.Equal(t, OK, r.Cause, "%v", r.Err)
				if !r.Reused {
					dials++
				}
				conns[r.Local]++
			}}
			// The first requests are the only ones.
			c.Kind.MinThink, c.Kind.MaxThink = time.Hour, time.Hour
			f.ends.Go(func() { here.Wait(); cancel() })
			c.Run(ctx)
			f.stop()
			assert.Equal(t, tt.conns, dials)
			assert.Len(t, conns, tt.conns)
		})
	}
}

func TestHTTP2RequestHasItsID(t *testing.T) {
	h := &http2Client{Client: &Client{Path: "/"}}
	req, body := h.request(t.Context(), 0xab)
	assert.Equal(t, "00000000000000ab", req.Header.Get("Request-Id"))
	assert.Equal(t, "00000000000000ab", body.piece)
}

// What is read at once is sent as one DATA frame.
func TestStreamedBodyComesInPieces(t *testing.T) {
	b, buf := newBody(1, true), make([]byte, 4*pieceLen)
	for range pieces {
		n, err := b.Read(buf)
		require.NoError(t, err)
		assert.Equal(t, pieceLen, n)
	}
	_, err := b.Read(buf)
	assert.Equal(t, io.EOF, err)
}

// An echo that ends early is no complete answer, however well it ends.
func TestEchoIsCompared(t *testing.T) {
	for _, tt := range []struct {
		name string
		of   func(body []byte) []byte
		cut  bool
	}{
		{"nothing", func([]byte) []byte { return nil }, false},
		{"something else", func([]byte) []byte { return []byte("ok") }, false},
		{"less than the id", func(b []byte) []byte { return b[:idLen-1] }, false},
		{"the id", func(b []byte) []byte { return b[:idLen] }, true},
		{"all but one", func(b []byte) []byte { return b[:len(b)-1] }, true},
		{"one wrong", func(b []byte) []byte { b[len(b)/2] = 'x'; return b }, true},
		{"all", func(b []byte) []byte { return b }, false},
		{"more", func(b []byte) []byte { return append(b, '\n') }, false},
	} {
		b := newBody(0xfedcba9876543210, true)
		sent, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Len(t, sent, pieces*pieceLen)
		for part := range slices.Chunk(tt.of(sent), 700) {
			b.Write(part)
		}
		assert.Equal(t, tt.cut, b.cut(), tt.name)
	}
}
