// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A client that has more to ask than it may at a time, and has not read yet that it is
// to go, is answered all of it on its connection.
func TestHTTP2StreamsBeyondTheLimitAreAnswered(t *testing.T) {
	const pairs, each = 5, 300 * time.Millisecond
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Spread: -1}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(each)
			ok(w, r)
		})
		r.srv.HTTP.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2}
		c := dial(r).http2("")
		c.mute = true
		synctest.Wait()
		require.Contains(t, c.of(h2Settings)[0].payload, "\x00\x03\x00\x00\x00\x02", "MaxConcurrentStreams")
		c.get(1)
		c.get(3)
		synctest.Wait()
		for i := uint32(1); i < pairs; i++ {
			time.AfterFunc(time.Duration(i)*(each+10*time.Millisecond), func() {
				assert.True(t, c.answered(4*i-3) && c.answered(4*i-1))
				c.get(4*i + 1)
				c.get(4*i + 3)
			})
		}
		time.AfterFunc(pairs*each, func() {
			assert.Equal(t, []uint32{highestStream}, c.goAways(), "nothing is refused before the client knows")
			assert.Equal(t, 2, r.srv.Stats().InFlight)
			c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
		})
		report, _, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		<-c.end
		for stream := uint32(1); stream < 4*pairs; stream += 2 {
			assert.True(t, c.answered(stream), "stream %d", stream)
		}
		assert.Equal(t, []uint32{highestStream, 4*pairs - 1}, c.goAways())
		assert.Empty(t, c.of(h2RSTStream))
		assert.EqualValues(t, 2*pairs-2, report.Total().Requests)
		r.nothingOpen()
	})
}
