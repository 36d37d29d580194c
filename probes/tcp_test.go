// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// freePort returns an address on which nobody listens.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// becomes waits until addr accepts connections, and closes them, or refuses them.
func becomes(t *testing.T, addr string, open bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if errors.Is(err, syscall.ECONNRESET) {
			return false // closed in the middle
		} else if err != nil {
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			return !open
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
		return open && err == io.EOF
	}, time.Minute, time.Millisecond)
}

func TestServeTCP(t *testing.T) {
	addr := freePort(t)
	var r probes.Registry
	down := make(chan bool, 1)
	down <- false
	require.NoError(t, r.AddReadiness(probes.Check{
		Name:     "db",
		Interval: time.Millisecond,
		Func: func(context.Context) error {
			d := <-down
			down <- d
			if d {
				return errDown
			}
			return nil
		},
	}))
	ctx, cancel := context.WithCancel(t.Context())
	served, ran := make(chan error), make(chan error)
	go func() { served <- r.ServeTCP(ctx, addr) }()
	go func() { ran <- r.Run(ctx) }()

	becomes(t, addr, false)
	r.Started()
	for range 3 {
		becomes(t, addr, true)
		<-down
		down <- true
		becomes(t, addr, false)
		<-down
		down <- false
	}
	becomes(t, addr, true)
	r.Shutdown()
	becomes(t, addr, false)
	cancel()
	assert.NoError(t, <-served)
	assert.NoError(t, <-ran)
}

func TestServeTCPLeavesTheAddressClosed(t *testing.T) {
	addr := freePort(t)
	var r probes.Registry
	r.Started()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- r.ServeTCP(ctx, addr) }()
	becomes(t, addr, true)
	cancel()
	assert.NoError(t, <-served)
	_, err := net.Dial("tcp", addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestServeTCPFails(t *testing.T) {
	var r probes.Registry
	assert.EqualError(t, r.ServeTCP(t.Context(), "nonsense"), "probes: ServeTCP: address nonsense: missing port in address")
	assert.EqualError(t, r.ServeTCP(t.Context(), "127.0.0.1:0"), `probes: ServeTCP: address "127.0.0.1:0" has no port`)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	r.Started()
	err = r.ServeTCP(t.Context(), l.Addr().String())
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.ErrorContains(t, err, "probes: ServeTCP: listen tcp "+l.Addr().String())
}
