// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzFrames follows bytes in pieces: at the end of each it is known whether a frame may
// be put in there, and after how many of the next bytes, as somebody says who has them
// all.
func FuzzFrames(f *testing.F) {
	headers := frame(frameHeaders, 0, 1, "head") + frame(frameContinuation, flagEndHeaders, 1, "er")
	f.Add([]byte(settings+headers+frame(0, 1, 1, "body")+frame(framePing, flagAck, 0, "lameduck")), uint64(1))
	f.Add([]byte(settings+frame(framePing, flagAck, 0, " lameduck")), uint64(2))
	f.Add([]byte(settings+headers+frame(frameHeaders, 0, 0, "")+settings), uint64(3))
	f.Add([]byte(settings+frame(frameGoAway, 0, 0, "12345678")+"\xff\xff\xff\x00\x00"), uint64(4))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		at := boundaries(stream)
		random := rand.New(rand.NewPCG(seed, 0))
		var got frames
		for done := 0; done < len(stream); {
			n := 1 + random.IntN(min(len(stream)-done, 40))
			piece := stream[done : done+n]
			to, ok := got.toBoundary(piece)
			for i := 0; i < n && (!ok || i < to); i++ {
				assert.False(t, at[done+i] && (ok || i > 0), "a frame may be put in at %d, and not only at %d", done+i, done+to)
			}
			if ok {
				assert.True(t, at[done+to] || to == n && got.lost, "no frame may be put in at %d", done+to)
			}
			before := got.acked
			got.follow(piece)
			done += n
			assert.Equal(t, at[done], got.boundary(), "at %d", done)
			if got.acked && !before {
				assert.Contains(t, string(stream[:done]), frame(framePing, 0, 0, "lameduck")[9:])
			}
		}
		var whole frames
		whole.follow(stream)
		whole.data, got.data = [8]byte{}, [8]byte{} // of one that is too long only the end is kept, and not looked at
		assert.Equal(t, whole, got)
	})
}

// A source is a connection of which only Read is used.
type source struct {
	net.Conn
	in io.Reader
}

func (s source) Read(p []byte) (int, error) { return s.in.Read(p) }

// FuzzPreface has a client of a gRPC server send any bytes, which are read in pieces: all
// of them come through; it is taken for one that speaks HTTP/2 if they begin with the
// preface and a frame, and for one with TLS if they begin with something else.
func FuzzPreface(f *testing.F) {
	f.Add([]byte(clientPreface+settings), uint64(1))
	f.Add([]byte(clientPreface+settings[:8]), uint64(2))
	f.Add([]byte(clientPreface[:20]), uint64(3))
	f.Add([]byte(clientPreface[:20]+"x"), uint64(4))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), uint64(5))
	f.Add([]byte(clientPreface+settings+"\x00\x00"), uint64(6))
	f.Add([]byte(clientPreface+frame(frameHeaders, 0, 1, "x")+settings), uint64(7))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		s := &Server{GRPC: new(noGRPC)}
		c := &conn{Conn: source{in: bytes.NewReader(stream)}, srv: s}
		c.set(ofGRPC)
		h := newGRPCConn(c, c).(*http2Conn)
		random := rand.New(rand.NewPCG(seed, 0))
		var got []byte
		for buf := make([]byte, 40); ; {
			n, err := h.Read(buf[:1+random.IntN(len(buf))])
			got = append(got, buf[:n]...)
			if err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
		}
		assert.Equal(t, string(stream), string(got))
		rest, prefaced := strings.CutPrefix(string(stream), clientPreface)
		assert.Equal(t, !prefaced && !strings.HasPrefix(clientPreface, string(stream)), c.tls, "TLS")
		assert.Equal(t, prefaced && len(boundaries([]byte(rest))) > 0, c.http2 != nil, "HTTP/2")
		var in frames
		if prefaced {
			in.follow([]byte(rest))
			assert.Equal(t, in.half(), h.half.Load(), "half a frame")
		}
	})
}

type noGRPC struct{}

func (*noGRPC) Serve(net.Listener) error { return nil }
func (*noGRPC) GracefulStop()            {}
func (*noGRPC) Stop()                    {}
