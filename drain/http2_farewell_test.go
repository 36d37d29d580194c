// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// Whatever net/http writes at that moment, nothing gets inside a frame or a header
// block, under floods, resets and windows that are closed as well. The clients read
// slowly: net/http flushes its buffer in the middle of frames.
func TestHTTP2FarewellIsNeverInsideAFrame(t *testing.T) {
	const clients, streams = 20, 40
	block := strings.Repeat("x", 1000)
	synctest.Test(t, func(t *testing.T) {
		r := startH2C(t, &drain.Server{Floor: 400 * time.Millisecond, Quiet: -1}, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			for i := range 40 { // more than a frame holds
				w.Header().Set("X-"+strconv.Itoa(i), block)
			}
			for range 5 {
				io.WriteString(w, block)
				w.(http.Flusher).Flush()
			}
		})
		r.srv.HTTP.ErrorLog = log.New(io.Discard, "", 0)
		var group sync.WaitGroup
		for range clients {
			c := r.dial()
			c.br = bufio.NewReader(slowReader{c})
			h := c.http2("")
			group.Go(func() {
				for i := uint32(1); i < 2*streams; i += 2 {
					h.send(h2Headers, h2EndHeaders, i, postRoot)
					h.send(h2Data, 0, i, block)
					h.send(h2Ping, 0, 0, "floods!!")
					if i%7 == 0 {
						h.send(h2Settings, 0, 0, "\x00\x04\x00\x00\x00"+string(rune(i))) // almost no window
						h.send(h2Settings, 0, 0, "\x00\x04\x7f\xff\xff\xff")
					}
					if i%11 == 0 {
						h.send(h2RSTStream, 0, i, "\x00\x00\x00\x08")
						continue
					}
					h.send(h2Data, h2EndStream, i, block)
					h.send(h2WindowUpdate, 0, 0, "\x00\x00\x20\x00")
				}
				<-h.end
				last := h.goAways()
				assert.True(t, len(last) == 2 && last[0] == highestStream, "%v", last)
			})
		}
		synctest.Wait()
		report, _, err := r.drain(time.Hour)
		group.Wait()
		require.NoError(t, err)
		assert.EqualValues(t, clients, report.GoAway)
		r.nothingOpen()
	})
}

// A slowReader takes a millisecond for each 100 bytes.
type slowReader struct{ net.Conn }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return r.Conn.Read(p[:min(len(p), 100)])
}
