// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A server that accepts and says nothing costs a client the time of a dial where that has
// a handshake, and that of a request where it has none.
func TestSilentServerIsGivenUp(t *testing.T) {
	for proto, want := range map[string]time.Duration{"": requestTimeout, "h2": dialTimeout} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var servers []net.Conn
				c := &Client{
					Kind: Kind{Proto: proto, Method: "GET"},
					Path: "/",
					Dial: func(context.Context) (net.Conn, error) {
						client, server := net.Pipe()
						servers = append(servers, server)
						return client, nil
					},
					Record: func(r Result) {
						assert.Equal(t, Timeout, r.Cause, "%v", r.Err)
						assert.Equal(t, want, r.Latency)
						cancel()
					},
				}
				c.Run(ctx)
				for _, s := range servers {
					s.Close()
				}
			})
		})
	}
}
