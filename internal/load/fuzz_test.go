// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzAnswer has a server answer with any bytes, and then end the stream. A request is
// answered only by a complete 2xx, and what comes after it stays to be found.
func FuzzAnswer(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, answer := range []string{
		"", "H", ok, ok + ok, ok[:len(ok)-1], "\r\n" + ok,
		"HTTP/1.1 100 Continue\r\n\r\n" + ok,
		"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\nbytes",
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/2.0 200\r\n\r\n", "SSH-2.0-x\r\n",
	} {
		f.Add(http.MethodPost, []byte(answer))
		f.Add(http.MethodGet, []byte(answer))
		f.Add(http.MethodHead, []byte(answer))
	}
	f.Fuzz(func(t *testing.T, method string, answer []byte) {
		if method != http.MethodHead && method != http.MethodGet {
			method = http.MethodPost
		}
		c := &Client{Kind: Kind{Method: method}, br: bufio.NewReader(bytes.NewReader(answer))}
		var r Result
		keep := c.receive(&r)
		assert.Equal(t, r.Cause == OK, r.Err == nil)
		assert.Contains(t, []Cause{OK, Closed, Status, Truncated, Other}, r.Cause)
		assert.Equal(t, r.Cause == Closed, len(answer) == 0, "before the first byte")
		if r.Cause == OK || r.Cause == Status {
			assert.Equal(t, r.Cause == OK, r.Status/100 == 2)
		} else {
			assert.False(t, keep)
		}
		if r.Cause != OK || !keep {
			return
		}
		// Kept, and so complete: a byte less of it is not, and more of it changes nothing.
		left, _ := io.ReadAll(c.br)
		whole := answer[:len(answer)-len(left)]
		var less, more Result
		c.br = bufio.NewReader(bytes.NewReader(whole[:len(whole)-1]))
		c.receive(&less)
		assert.NotEqual(t, OK, less.Cause, "%q without its last byte", whole)
		c.br = bufio.NewReader(bytes.NewReader(append(bytes.Clone(whole), "HTTP"...)))
		c.receive(&more)
		assert.Equal(t, r.Status, more.Status)
		rest, _ := io.ReadAll(c.br)
		assert.Equal(t, "HTTP", string(rest))
	})
}

// FuzzEcho has a server answer with any bytes to a body, in pieces: it is cut when it
// begins as the body does, by an id at least, and is not the whole of it.
func FuzzEcho(f *testing.F) {
	whole := func(id uint64, streaming bool) string {
		b := newBody(id, streaming)
		return strings.Repeat(b.piece, b.pieces)
	}
	f.Add(uint64(1), true, []byte(whole(1, true)), uint64(1))
	f.Add(uint64(1), true, []byte(whole(1, true)[:100]), uint64(2))
	f.Add(uint64(1), true, []byte(whole(1, true)+"more"), uint64(3))
	f.Add(uint64(2), false, []byte(whole(2, false)), uint64(4))
	f.Add(uint64(2), true, []byte(whole(2, true)[:idLen]+"x"), uint64(5))
	f.Add(uint64(2), true, []byte("ok"), uint64(6))
	f.Fuzz(func(t *testing.T, id uint64, streaming bool, answer []byte, seed uint64) {
		b := newBody(id, streaming)
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := answer; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			b.Write(rest[:n])
			rest = rest[n:]
		}
		want := whole(id, streaming)
		same := 0
		for same < min(len(answer), len(want)) && answer[same] == want[same] {
			same++
		}
		assert.Equal(t, same >= idLen && same < len(want), b.cut())
	})
}
