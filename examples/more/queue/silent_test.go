// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A relay stands in front of NATS, and can fall silent.
type relay struct {
	net.Listener
	silent chan struct{}
	conns  sync.WaitGroup
}

func startRelay(t *testing.T, url string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l, silent: make(chan struct{})}
	r.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				client.Close()
				continue
			}
			r.conns.Go(func() { r.pass(server, client) })
			r.conns.Go(func() { r.pass(client, server) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.conns.Wait()
	})
	return r
}

// pass passes on what comes, until the relay is silent; then it throws that away.
func (r *relay) pass(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 1<<15)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		select {
		case <-r.silent:
		default:
			to.Write(b[:n])
		}
	}
}

// TestDrainWhileItsBrokerIsSilent: it has a connection, and nobody to give messages back
// to. What is left is not waited for as long as the library would.
func TestDrainWhileItsBrokerIsSilent(t *testing.T) {
	url, _ := startNATS(t)
	r := startRelay(t, url)
	c := startConsumer(t, "nats://"+r.Addr().String(), func(context.Context, []byte) error { return nil })
	close(r.silent)
	assert.NoError(t, c.drain(t.Context()))
	assert.True(t, c.conn.IsConnected(), "or this test tests nothing")
	select {
	case <-c.running.Closed():
		assert.Fail(t, "the end of what hangs was waited for")
	default:
	}
	c.close(context.Background())
}
