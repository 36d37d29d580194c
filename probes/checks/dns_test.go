// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes/checks"
)

// nameserver returns a resolver that asks a server on the loopback interface, and
// gets what answer makes of a question (RFC 1035, section 4).
func nameserver(t *testing.T, answer func(query []byte) []byte) *net.Resolver {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for query := make([]byte, 1<<10); ; {
			n, client, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			if a := answer(query[:n]); a != nil {
				server.WriteTo(a, client)
			}
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
		if err == nil { // the resolver leaves a lookup that nobody waits for to its timeout of 5 s
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}}
}

const (
	headerLen = 12
	typeA     = 1
	noName    = 3
)

// reply answers a query with a code and, if it is one for an IPv4 address, with
// the address addr.
func reply(query []byte, code byte, addr ...byte) []byte {
	end := headerLen + bytes.IndexByte(query[headerLen:], 0) + 1 + 4 // name, type, class
	isA := query[end-3] == typeA
	r := append([]byte(nil), query[:end]...)
	copy(r[2:], []byte{0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0})
	if isA && len(addr) == 4 {
		r[7] = 1 // one answer, of the name in the question, for a minute
		r = append(r, 0xc0, headerLen, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4)
		r = append(r, addr...)
	}
	return r
}

func TestDNS(t *testing.T) {
	r := nameserver(t, func(q []byte) []byte { return reply(q, 0, 127, 0, 0, 1) })
	assert.NoError(t, checks.DNS(r, "db.example.")(t.Context()))
	assert.NoError(t, checks.DNS(nil, "127.0.0.1")(t.Context()), "an address is its own")

	r = nameserver(t, func(q []byte) []byte { return reply(q, noName) })
	err := checks.DNS(r, "db.example.")(t.Context())
	assert.ErrorContains(t, err, "lookup db.example.")
	var dnsErr *net.DNSError
	require.ErrorAs(t, err, &dnsErr)
	assert.True(t, dnsErr.IsNotFound)

	r = nameserver(t, func(q []byte) []byte { return reply(q, 0) })
	assert.ErrorContains(t, checks.DNS(r, "db.example.")(t.Context()), "lookup db.example.", "a name without an address")
}

func TestDNSEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := nameserver(t, func([]byte) []byte { cancel(); return nil })
	err := checks.DNS(r, "db.example.")(ctx)
	assert.ErrorContains(t, err, "operation was canceled")
}
