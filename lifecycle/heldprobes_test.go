// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestSecurityHeldProbesDelayTheExitByLittle: connections on the probe listener that are
// in the middle of something have 20 ms when all else is over, and idle ones nothing.
func TestSecurityHeldProbesDelayTheExitByLittle(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want time.Duration
	}{
		"nobody":        {"-", 0},
		"idle":          {"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		"silent":        {"", 20 * time.Millisecond},
		"half a header": {"GET /readyz HTTP/1.1\r\nHost:", 20 * time.Millisecond},
		"half a body":   {"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := app(lifecycle.Component{Name: "db"})
				a.ProbeAddr = ":8081"
				l := memnet.Listen()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					done <- lifecycle.RunOn(ctx, a, func(context.Context, string, string) (net.Listener, error) { return l, nil })
				}()
				time.Sleep(time.Minute)
				if tt.text != "-" {
					conn, err := l.Dial(t.Context())
					require.NoError(t, err)
					defer conn.Close()
					go io.Copy(io.Discard, conn)
					_, err = io.WriteString(conn, tt.text)
					require.NoError(t, err)
				}
				time.Sleep(time.Second)
				t0 := time.Now()
				cancel()
				require.NoError(t, <-done)
				assert.Equal(t, tt.want, time.Since(t0))
			})
		})
	}
}
