// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// GracefulStop and Stop wait for handshakes, which may never come to their end; no
// other client may have to wait for that.
func TestGRPCConnectionsWithoutAHandshakeHoldNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		tls  bool
		send string
		want time.Duration
	}{
		{"silent", false, "", drain.DefaultSilent},
		{"silent, TLS", true, "", drain.DefaultSilent},
		{"half a preface", false, h2Preface[:5], drain.DefaultQuiet + 5*time.Second},
		{"half a handshake", true, "\x16\x03\x01", drain.DefaultQuiet + drain.DefaultSilent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGRPC{handle: func(context.Context, string) {}}
				dial := (*rig).dial
				if tt.tls {
					g.shake, dial = serverTLS(t, true), (*rig).dialHTTP2TLS
				}
				r := startGRPC(t, &drain.Server{Spread: -1}, g)
				c := dial(r).http2("")
				c.call(1, "/t.T/Get")
				stray := r.dial()
				go stray.Write([]byte(tt.send))
				synctest.Wait()
				report, took, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.InDelta(t, tt.want, took, float64(50*time.Millisecond))
				assert.EqualValues(t, 1, report.Silent+report.Unfinished)
				assert.EqualValues(t, 1, report.GoAway)
				<-c.end
			})
		})
	}
}

// Without Decrypted clients with TLS are left in peace until GracefulStop, the idle and
// the busy ones, and long streams are told once the accept window is closed.
func TestGRPCOverTLSWithoutDecrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t0 := time.Now()
		var told time.Duration
		g := &fakeGRPC{shake: serverTLS(t, false), handle: func(ctx context.Context, method string) {
			if method == "/t.T/Long" {
				<-drain.Draining(ctx)
				told = time.Since(t0)
			}
		}}
		r := startGRPC(t, &drain.Server{Floor: 10 * time.Second, Spread: -1}, g)
		idle, long := r.dialHTTP2TLS().http2(""), r.dialHTTP2TLS().http2("")
		long.call(1, "/t.T/Long")
		synctest.Wait()
		t0 = time.Now()
		time.AfterFunc(10*time.Second-1, func() {
			assert.Empty(t, append(idle.goAways(), long.goAways()...))
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, 10*time.Second, told)
		assert.Len(t, idle.goAways(), finalGOAWAY)
		assert.Zero(t, report.GoAway)
		assert.EqualValues(t, 1, report.GoAwayOnce)
		assert.True(t, long.answered(1))
		assert.Zero(t, report.Silent+report.Idle)
	})
}
