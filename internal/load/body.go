// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// A streamed body is so many pieces, each a DATA frame, with pauses between them.
const (
	pieces   = 4
	pieceLen = 1 << 10
	maxPause = 4 * time.Millisecond

	idLen = 16
)

// A body is that of one HTTP/2 request: its id, and once more the id until it is
// long enough. It can be read once, and compares what is written to it with what it is.
type body struct {
	piece  string
	pieces int
	read   int           // how many bytes
	closed chan struct{} // closed by Close
	close  sync.Once

	// How long the answer is, and how much of its beginning is like the body.
	written, same int
}

func newBody(id uint64, streaming bool) *body {
	b := &body{piece: fmt.Sprintf("%016x", id), pieces: 1, closed: make(chan struct{})}
	if streaming {
		b.piece, b.pieces = strings.Repeat(b.piece, pieceLen/idLen), pieces
	}
	return b
}

func (b *body) len() int { return b.pieces * len(b.piece) }

// announced is what the request says of the length: nothing when it is streamed.
func (b *body) announced() int64 {
	if b.pieces > 1 {
		return -1
	}
	return int64(b.len())
}

// Read returns a piece, after a pause. The client of net/http asks for more than
// the length of a piece, and writes what it gets as one frame.
func (b *body) Read(p []byte) (int, error) {
	if b.read == b.len() {
		return 0, io.EOF
	}
	if b.read > 0 {
		pause := time.NewTimer(rand.N(maxPause))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-b.closed:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, b.piece[b.read%len(b.piece):])
	b.read += n
	return n, nil
}

func (b *body) Close() error {
	b.close.Do(func() { close(b.closed) })
	return nil
}

// Write takes the next part of the answer.
func (b *body) Write(p []byte) (int, error) {
	for i := 0; i < len(p) && b.same == b.written+i && b.same < b.len() && p[i] == b.piece[b.same%len(b.piece)]; i++ {
		b.same++
	}
	b.written += len(p)
	return len(p), nil
}

// cut reports whether the answer is an echo, since it begins with the id, and is
// not one of the whole body.
func (b *body) cut() bool { return b.same >= idLen && b.same < b.len() }
