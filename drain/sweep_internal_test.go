// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bytes may come in at any moment of a look at a connection. Whatever the look makes
// of them, it wants another one within the time that half a request has.
func TestBytesThatComeInDuringALook(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	s := new(Server)
	s.setup()
	s.t0 = s.clock()
	c := &conn{Conn: server, srv: s, h1: true, lastID: 1}
	c.set(traffic)
	c.done.Store(1<<32 | 1)

	var over atomic.Bool
	var bytes sync.WaitGroup
	bytes.Go(func() {
		for !over.Load() {
			c.reads.Store(1) // as many as when it fell idle
			c.reads.Store(2)
		}
	})
	defer bytes.Wait()
	defer over.Store(true)
	for range 30_000 {
		c.half = 0
		require.LessOrEqual(t, c.sweep(s.t0, false), s.t0+int64(halfRequest+time.Second))
	}
}
