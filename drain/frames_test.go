// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frame returns an HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload string) string {
	h := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	h = binary.BigEndian.AppendUint32(append(h, flags), stream)
	return string(h) + payload
}

var settings = frame(frameSettings, 0, 0, "")

func TestFarewellIsTwoFrames(t *testing.T) {
	assert.Equal(t, frame(frameGoAway, 0, 0, "\x7f\xff\xff\xff\x00\x00\x00\x00")+frame(framePing, 0, 0, "lameduck"), farewell)
}

func TestFramesBoundaries(t *testing.T) {
	tests := []struct {
		name, bytes string
		want        bool
	}{
		{"nothing yet: SETTINGS come first", "", false},
		{"half of the first header", settings[:5], false},
		{"the first frame", settings, true},
		{"half a header", settings + "\x00\x00", false},
		{"half a payload", settings + frame(0, 0, 1, "data")[:11], false},
		{"a frame without a payload", settings + frame(0, 1, 1, ""), true},
		{"the longest frame", settings + frame(0, 0, 1, string(make([]byte, 1<<24-1))), true},
		{"a header block", settings + frame(frameHeaders, flagEndHeaders, 1, "x"), true},
		{"half a header block", settings + frame(frameHeaders, 0, 1, "x"), false},
		{"half a header block, and more of it", settings + frame(frameHeaders, 0, 1, "x") + frame(frameContinuation, 0, 1, "x"), false},
		{"a header block in parts", settings + frame(frameHeaders, 0, 1, "x") + frame(frameContinuation, flagEndHeaders, 1, "x"), true},
		{"half a promise", settings + frame(framePushPromise, 0, 1, "x"), false},
		{"a reserved bit in the stream", settings + frame(frameHeaders, 0, 1<<31|1, "x") + frame(frameContinuation, flagEndHeaders, 1, "x"), true},
		{"an unknown frame", settings + frame(0xbe, 0xff, 7, "x"), true},

		{"no SETTINGS", frame(framePing, 0, 0, "12345678"), false},
		{"HTTP/1.1", "HTTP/1.1 200 OK\r\n\r\n", false},
		{"a header block that is interrupted", settings + frame(frameHeaders, 0, 1, "x") + frame(0, 0, 1, "x"), false},
		{"a header block that goes on elsewhere", settings + frame(frameHeaders, 0, 1, "x") + frame(frameContinuation, flagEndHeaders, 3, "x"), false},
		{"a continuation of nothing", settings + frame(frameContinuation, flagEndHeaders, 1, "x"), false},
		{"a header block of stream 0", settings + frame(frameHeaders, 0, 0, "x") + settings, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f frames
			f.follow([]byte(tt.bytes))
			assert.Equal(t, tt.want, f.boundary())
			var g frames
			for i := range min(len(tt.bytes), 1000) {
				g.follow([]byte(tt.bytes[i : i+1]))
			}
			if len(tt.bytes) <= 1000 {
				assert.Equal(t, f, g, "byte by byte")
			}
		})
	}
}

func TestFramesFindTheAnswerToTheFarewell(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes string
		want  bool
	}{
		"the answer":        {frame(framePing, flagAck, 0, "lameduck"), true},
		"a PING":            {frame(framePing, 0, 0, "lameduck"), false},
		"another's answer":  {frame(framePing, flagAck, 0, "12345678"), false},
		"not a PING":        {frame(0, flagAck, 1, "lameduck"), false},
		"half an answer":    {frame(framePing, flagAck, 0, "lameduck")[:16], false},
		"one too long":      {frame(framePing, flagAck, 0, "lameduck "), false},
		"another too long":  {frame(framePing, flagAck, 0, " lameduck"), false},
		"the second answer": {frame(framePing, flagAck, 0, "12345678") + frame(framePing, flagAck, 0, "lameduck"), true},
	} {
		t.Run(name, func(t *testing.T) {
			var f frames
			f.follow([]byte(settings + tt.bytes))
			assert.Equal(t, tt.want, f.acked)
			f = frames{}
			for _, b := range []byte(settings + tt.bytes) {
				f.follow([]byte{b})
			}
			assert.Equal(t, tt.want, f.acked, "byte by byte")
		})
	}
}

// boundaries is how one would do it with all bytes at hand: it returns where a frame
// may be put in, up to where the bytes are no HTTP/2 any more.
func boundaries(all []byte) map[int]bool {
	at := make(map[int]bool)
	var block uint32
	for i := 0; i+9 <= len(all); {
		length := int(all[i])<<16 | int(all[i+1])<<8 | int(all[i+2])
		kind, flags := all[i+3], all[i+4]
		stream := binary.BigEndian.Uint32(all[i+5:]) & 0x7fffffff
		if i == 0 && kind != frameSettings || (kind == frameContinuation) != (block != 0) || kind == frameContinuation && stream != block {
			break
		}
		if kind == frameHeaders || kind == framePushPromise || kind == frameContinuation {
			if block = stream; flags&flagEndHeaders != 0 {
				block = 0
			} else if stream == 0 {
				break
			}
		}
		if i += 9 + length; i > len(all) {
			break
		}
		at[i] = block == 0
	}
	return at
}

// FuzzFarewell writes bytes in pieces, with the farewell falling due somewhere, and
// looks at what comes out: the same bytes, and the farewell between two frames or
// nowhere.
func FuzzFarewell(f *testing.F) {
	headers := frame(frameHeaders, 0, 1, "head") + frame(frameContinuation, flagEndHeaders, 1, "er")
	f.Add([]byte(settings+headers+frame(0, 1, 1, "body")), uint64(1), uint16(3))
	f.Add([]byte(settings+frame(frameHeaders, flagEndHeaders, 3, "")), uint64(2), uint16(9))
	f.Add([]byte(settings+headers+frame(frameGoAway, 0, 0, "12345678")+settings), uint64(3), uint16(60))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), uint64(4), uint16(0))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, due uint16) {
		var out bytes.Buffer
		h := &http2Conn{Conn: writer{out: &out}, conn: &conn{srv: new(Server), http2: &http2{over: true}}}
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := stream; len(rest) > 0; {
			if len(stream)-len(rest) >= int(due) && !h.due.Load() && h.conn.srv.counters.goAway.Load() == 0 {
				h.due.Store(true)
				h.say()
			}
			n := 1 + random.IntN(min(len(rest), 40))
			wrote, err := h.Write(rest[:n])
			require.NoError(t, err)
			require.Equal(t, n, wrote)
			rest = rest[n:]
		}
		got := out.Bytes()
		if h.conn.srv.counters.goAway.Load() == 0 {
			require.Equal(t, string(stream), string(got))
			return
		}
		for at := range boundaries(stream) {
			if boundaries(stream)[at] && string(got) == string(stream[:at])+farewell+string(stream[at:]) {
				return
			}
		}
		t.Errorf("the farewell is inside a frame, or bytes are missing:\n%q\n%q", stream, got)
	})
}

// A writer is a connection of which only Write is used.
type writer struct {
	net.Conn
	out *bytes.Buffer
}

func (w writer) Write(p []byte) (int, error) { return w.out.Write(p) }

// TestFarewellBesideWrites has a goroutine write frames, in pieces of any length, and
// others that want to be heard.
func TestFarewellBesideWrites(t *testing.T) {
	for range 100 {
		ours, theirs := net.Pipe()
		said := make(chan struct{})
		h := &http2Conn{Conn: ours, conn: &conn{srv: new(Server), http2: &http2{over: true}}}
		all := bytes.Repeat([]byte(settings+frame(frameHeaders, 0, 1, "head")+frame(frameContinuation, flagEndHeaders, 1, "er")+frame(0, 0, 1, "body")), 20)
		go func() {
			defer ours.Close()
			for rest := all; len(rest) > 0; {
				n := 1 + rand.IntN(min(len(rest), 40))
				h.Write(rest[:n])
				rest = rest[n:]
			}
			<-said
			h.Write([]byte(settings))
		}()
		go func() {
			defer close(said)
			h.due.Store(true)
			h.say()
		}()
		var got bytes.Buffer
		got.ReadFrom(theirs)
		before, after, found := bytes.Cut(got.Bytes(), []byte(farewell))
		require.True(t, found, "it is said, whoever writes at that moment")
		require.Equal(t, string(all)+settings, string(before)+string(after))
		require.True(t, boundaries(append(all, settings...))[len(before)])
	}
}
