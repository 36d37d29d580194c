// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// What the raw client needs of HTTP/2 (RFC 9113, section 6, and RFC 7541).
const (
	h2Data         = 0x0
	h2Headers      = 0x1
	h2Settings     = 0x4
	h2RSTStream    = 0x3
	h2Ping         = 0x6
	h2GoAway       = 0x7
	h2WindowUpdate = 0x8
	h2Continuation = 0x9

	h2EndStream  = 0x1
	h2Ack        = 0x1
	h2EndHeaders = 0x4

	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	getRoot   = "\x82\x84\x86\x41\x01a" // GET / of http://a
	postRoot  = "\x83\x84\x86\x41\x01a"

	highestStream = 1<<31 - 1
)

type h2Frame struct {
	kind, flags byte
	stream      uint32
	payload     string
}

func (f h2Frame) String() string {
	h := binary.BigEndian.AppendUint32(nil, uint32(len(f.payload))<<8|uint32(f.kind))
	return string(binary.BigEndian.AppendUint32(append(h, f.flags), f.stream)) + f.payload
}

func readH2(r io.Reader) (h2Frame, error) {
	var h [9]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return h2Frame{}, err
	}
	p := make([]byte, binary.BigEndian.Uint32(h[:])>>8)
	_, err := io.ReadFull(r, p)
	return h2Frame{h[3], h[4], binary.BigEndian.Uint32(h[5:]), string(p)}, err
}

// lastStream is the last stream of a GOAWAY.
func (f h2Frame) lastStream() uint32 { return binary.BigEndian.Uint32([]byte(f.payload)) }

// An h2Client speaks HTTP/2 frame by frame.
type h2Client struct {
	*client
	mu   sync.Mutex // guards what follows, and writing
	got  []h2Frame
	mute bool // it does not answer PINGs
	end  chan struct{}
}

// http2 makes c speak HTTP/2, but for the first bytes, which it has sent already.
func (c *client) http2(sent string) *h2Client {
	h := &h2Client{client: c, end: make(chan struct{})}
	h.mu.Lock() // no answer to the server's settings comes before this
	defer h.mu.Unlock()
	go h.read()
	io.WriteString(h, strings.TrimPrefix(h2Preface+h2Frame{kind: h2Settings}.String(), sent))
	return h
}

func (h *h2Client) read() {
	defer close(h.end)
	inBlock := false
	for {
		f, err := readH2(h.br)
		if err != nil {
			return
		}
		if !assert.Equal(h.t, inBlock, f.kind == h2Continuation, "a header block is interrupted by %q", f) {
			return
		}
		if f.kind == h2Headers || f.kind == h2Continuation {
			inBlock = f.flags&h2EndHeaders == 0
		}
		h.mu.Lock()
		h.got = append(h.got, f)
		answer := f.flags&h2Ack == 0 && (f.kind == h2Settings || f.kind == h2Ping && !h.mute)
		h.mu.Unlock()
		if answer {
			go h.write(h2Frame{f.kind, h2Ack, 0, map[byte]string{h2Ping: f.payload}[f.kind]}.String())
		}
	}
}

func (h *h2Client) write(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	io.WriteString(h, s)
}

func (h *h2Client) send(kind, flags byte, stream uint32, payload string) {
	h.write(h2Frame{kind, flags, stream, payload}.String())
}

func (h *h2Client) get(stream uint32) { h.send(h2Headers, h2EndStream|h2EndHeaders, stream, getRoot) }

// of returns the frames of a kind that have come.
func (h *h2Client) of(kind byte) []h2Frame {
	h.mu.Lock()
	defer h.mu.Unlock()
	var fs []h2Frame
	for _, f := range h.got {
		if f.kind == kind {
			fs = append(fs, f)
		}
	}
	return fs
}

// answered reports whether the answer on a stream is complete.
func (h *h2Client) answered(stream uint32) bool {
	for _, f := range append(h.of(h2Data), h.of(h2Headers)...) {
		if f.stream == stream && f.flags&h2EndStream != 0 {
			return true
		}
	}
	return false
}

func (h *h2Client) goAways() (last []uint32) {
	for _, f := range h.of(h2GoAway) {
		last = append(last, f.lastStream())
	}
	return last
}

func startH2C(t *testing.T, srv *drain.Server, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, l: memnet.Listen(), served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.HTTP.Protocols.SetHTTP1(true)
	srv.HTTP.Protocols.SetUnencryptedHTTP2(true)
	go func() { r.served <- srv.Serve(r.l) }()
	synctest.Wait()
	return r
}

func (r *rig) dialHTTP2TLS() *client {
	r.t.Helper()
	nc, err := r.l.Dial(r.t.Context())
	require.NoError(r.t, err)
	config := clientTLS()
	config.NextProtos = []string{"h2"}
	tc := tls.Client(nc, config)
	require.NoError(r.t, tc.HandshakeContext(r.t.Context()))
	return &client{r.t, tc, bufio.NewReader(tc)}
}

// bothHTTP2 runs a test over h2c and over TLS.
func bothHTTP2(t *testing.T, test func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client)) {
	t.Run("h2c", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(srv *drain.Server, h http.HandlerFunc) *rig { return startH2C(t, srv, h) }, (*rig).dial)
		})
	})
	t.Run("TLS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, func(srv *drain.Server, h http.HandlerFunc) *rig { return startTLS(t, srv, h) }, (*rig).dialHTTP2TLS)
		})
	})
}
