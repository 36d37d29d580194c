// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/stall"
)

// A client whose host has gone takes nothing any more, and says nothing. It holds a
// drain for about as long as one that is only mute.
func TestHTTP2ClientWhoseHostHasGoneHoldsLittle(t *testing.T) {
	t.Parallel()
	s, c := onLoopback(t)
	c.get(1)
	require.Eventually(t, func() bool { return c.answered(1) }, time.Minute, time.Millisecond)
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		nothing := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K, K: 0}} // comes in
		//lint:ignore SA1019 golang.org/x/net/bpf, which is recommended instead, cannot attach a filter.
		err = syscall.AttachLsf(int(fd), nothing)
	}))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 28*time.Second)
	defer cancel()
	late, t0 := stall.Watch(), time.Now()
	report, err := s.Drain(ctx)
	assert.NoError(t, err)
	assert.EqualValues(t, 1, report.GoAway)
	took := time.Since(t0)
	assert.Less(t, took-late(), 10*time.Second, "it would be 18 s")
	t.Logf("Drain took %v", took)
}
