// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A header block of which half has come when the drain begins is completed: its client
// is told at once, and can say so only after the block.
func TestHTTP2HeaderBlockAcrossTheDrain(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Spread: -1}, ok)
		c := dial(r).http2("")
		c.mute = true
		synctest.Wait()
		c.send(h2Headers, h2EndStream, 1, getRoot[:2])
		synctest.Wait()
		time.AfterFunc(500*time.Millisecond, func() {
			assert.Equal(t, []uint32{highestStream}, c.goAways())
			c.send(h2Continuation, h2EndHeaders, 1, getRoot[2:])
			c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
			synctest.Wait()
			assert.True(t, c.answered(1))
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 1500*time.Millisecond, took, "net/http's second after its GOAWAY")
		assert.EqualValues(t, 1, report.Total().Requests)
		assert.EqualValues(t, 1, report.GoAway)
		assert.Zero(t, report.GoAwayOnce)
		<-c.end
		assert.Equal(t, []uint32{highestStream, 1}, c.goAways())
		r.nothingOpen()
	})
}

// Clients whose every header block takes many frames and some time are told at any
// moment of these. Bytes of a body that look like the answer to the farewell are none.
func TestHTTP2HeaderBlocksWhileTheFarewellIsDue(t *testing.T) {
	const clients, pieces, pause = 20, 8, 20 * time.Millisecond
	look := h2Frame{h2Ping, h2Ack, 0, "lameduck"}.String()
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Floor: 2 * time.Second, Quiet: -1}, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if assert.Len(t, r.Header["X-Long"], 1) {
				fmt.Fprint(w, len(r.Header["X-Long"][0]))
			}
		})
		var inside, sent atomic.Int32
		var group sync.WaitGroup
		for range clients {
			c := dial(r).http2("")
			c.mute = true
			synctest.Wait()
			long := strings.Repeat("x", 100)
			block := getRoot + "\x00\x06x-long\x64" + long
			size := len(block)/pieces + 1
			group.Go(func() {
				stream := uint32(1)
				for ; len(c.of(h2Ping)) == 0; stream += 2 {
					c.send(h2Headers, 0, stream, "")
					told := len(c.goAways())
					for i := 0; i < len(block); i += size {
						time.Sleep(pause)
						c.send(h2Continuation, 0, stream, block[i:min(i+size, len(block))])
					}
					c.send(h2Continuation, h2EndHeaders, stream, "")
					inside.Add(int32(len(c.goAways()) - told))
					c.send(h2Data, h2EndStream, stream, look)
					sent.Add(1)
				}
				time.Sleep(pause)
				assert.Equal(t, []uint32{highestStream}, c.goAways(), "nothing is refused before the client knows")
				c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
				<-c.end
				for s := uint32(1); s < stream; s += 2 {
					assert.True(t, c.answered(s), "stream %d of %d", s, stream)
				}
				assert.Equal(t, []uint32{highestStream, stream - 2}, c.goAways())
			})
		}
		synctest.Wait()
		report, _, err := r.drain(28 * time.Second)
		group.Wait()
		require.NoError(t, err)
		assert.NotZero(t, inside.Load(), "some are told inside a block")
		assert.EqualValues(t, clients, report.GoAway)
		assert.Zero(t, report.GoAwayOnce)
		assert.EqualValues(t, sent.Load(), report.Total().Requests)
		r.nothingOpen()
	})
}
