// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import "encoding/binary"

// What is needed of HTTP/2's frames (RFC 9113, sections 4.1 and 6).
const (
	frameHeaderLen = 9

	frameHeaders      = 0x1
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndHeaders = 0x4
)

// Frames follow one direction of an HTTP/2 connection from its first frame on, in
// pieces of any length, to know where a frame ends. The zero value is ready for use.
type frames struct {
	header [frameHeaderLen]byte // of the frame under way
	got    uint8                // bytes of header
	left   uint32               // bytes of its payload that are to come
	block  uint32               // the stream whose header block is not complete; 0: none
	first  bool                 // a frame has begun
	ended  bool                 // one has ended
	lost   bool                 // this is not HTTP/2, and nothing is known any more
	goAway bool                 // a GOAWAY has begun
	data   [8]byte              // the payload of a PING
	acked  bool                 // a PING that carried farewellPing has come back
}

// boundary reports whether a frame may be put in here: some frame has been there,
// none is under way, and no header block is, for it may be interrupted by nothing
// (section 4.3).
func (f *frames) boundary() bool {
	return f.first && !f.lost && f.got == 0 && f.block == 0
}

// half reports whether a frame or a header block has begun and is not complete.
func (f *frames) half() bool { return !f.lost && (f.got != 0 || f.block != 0) }

// follow takes note of the next bytes.
func (f *frames) follow(p []byte) {
	for len(p) > 0 && !f.lost {
		p = p[f.step(p):]
	}
}

// toBoundary returns after how many of the next bytes a frame may be put in, or
// false if that is after none of them. It takes note of nothing.
func (f frames) toBoundary(p []byte) (n int, ok bool) {
	for !f.boundary() {
		if n == len(p) || f.lost {
			return 0, false
		}
		n += f.step(p[n:])
	}
	return n, true
}

// step takes note of the next bytes, of one frame at most, and returns how many.
func (f *frames) step(p []byte) (n int) {
	if f.got < frameHeaderLen {
		n = copy(f.header[f.got:], p)
		if f.got += uint8(n); f.got < frameHeaderLen {
			return n
		}
		if f.begin(); f.lost {
			return n
		}
	}
	rest := p[n:min(len(p), n+int(f.left))]
	if f.kind() == framePing && f.left <= uint32(len(f.data)) {
		copy(f.data[uint32(len(f.data))-f.left:], rest)
	}
	if f.left -= uint32(len(rest)); f.left == 0 {
		f.end()
	}
	return n + len(rest)
}

func (f *frames) length() uint32  { return binary.BigEndian.Uint32(f.header[:4]) >> 8 }
func (f *frames) kind() byte      { return f.header[3] }
func (f *frames) has(b byte) bool { return f.header[4]&b != 0 }

// begin takes note of a frame whose header is complete.
func (f *frames) begin() {
	f.left = f.length()
	stream := binary.BigEndian.Uint32(f.header[5:]) &^ (1 << 31)
	continues := f.kind() == frameContinuation
	switch {
	case !f.first && f.kind() != frameSettings, // section 3.4
		continues != (f.block != 0), // section 6.10
		continues && stream != f.block:
		f.lost = true
		return
	}
	f.first = true
	switch f.kind() {
	case frameHeaders, framePushPromise, frameContinuation:
		f.block = stream
		if f.has(flagEndHeaders) {
			f.block = 0
		} else if stream == 0 {
			f.lost = true
		}
	case frameGoAway:
		f.goAway = true
	}
}

// end takes note of a frame that is complete.
func (f *frames) end() {
	f.got, f.ended = 0, true
	if f.kind() == framePing && f.has(flagAck) && f.length() == 8 && f.data == farewellPing {
		f.acked = true
	}
}
