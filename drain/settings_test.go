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

// TestCap has clients dial all the time, for as long as they may or for 20 s.
func TestCap(t *testing.T) {
	const deadline, dialling = 24 * time.Second, 20 * time.Second
	for name, tt := range map[string]struct {
		srv    *drain.Server
		within time.Duration // of Drain; zero: no deadline
		want   time.Duration
		quiet  bool
	}{
		"half of the time":              {&drain.Server{}, deadline, deadline / 2, false},
		"the default":                   {&drain.Server{}, 0, drain.DefaultCap, false},
		"set":                           {&drain.Server{Cap: 3 * time.Second}, deadline, 3 * time.Second, false},
		"never less than the floor":     {&drain.Server{Cap: 3 * time.Second, Floor: 4 * time.Second}, deadline, 4 * time.Second, false},
		"never beyond the cancelling":   {&drain.Server{Cap: time.Hour}, 10 * time.Second, 10*time.Second - 2500*time.Millisecond, false},
		"none but the cancelling":       {&drain.Server{Cap: -1}, 10 * time.Second, 10*time.Second - 2500*time.Millisecond, false},
		"none, and no deadline":         {&drain.Server{Cap: -1}, 0, dialling + drain.DefaultQuiet, true},
		"none, and they have gone then": {&drain.Server{Cap: -1}, deadline + 8*time.Second, dialling + drain.DefaultQuiet, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, tt.srv, ok)
				first := r.dial()
				first.get("/")
				first.Close()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range dialling / (250 * time.Millisecond) {
						time.Sleep(250 * time.Millisecond)
						nc, err := r.l.Dial(t.Context())
						if err != nil {
							return // the listener is closed
						}
						c := &client{t, nc, nil}
						c.send("/")
						c.discard()
						time.AfterFunc(100*time.Millisecond, func() { nc.Close() })
					}
				}()
				ctx := context.Background()
				if tt.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.within)
					defer cancel()
				}
				report, err := tt.srv.Drain(ctx)
				require.NoError(t, err)
				assert.Equal(t, tt.want, report.Accept.Took)
				assert.Equal(t, tt.quiet, report.Quiet)
				<-done
				<-r.served
			})
		})
	}
}

// TestIdleConnectionsAreKeptForAMoment: however long one has been idle, it is kept for 300 ms
// once the listener is closed.
func TestIdleConnectionsAreKeptForAMoment(t *testing.T) {
	for linger, want := range map[time.Duration]time.Duration{
		0:                       300 * time.Millisecond, // the default: they have been idle for longer since T0
		10 * time.Millisecond:   300 * time.Millisecond,
		-1:                      0,
		5500 * time.Millisecond: 500 * time.Millisecond, // less up to a fifth
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &drain.Server{Floor: 5 * time.Second, Quiet: -1, Linger: linger}, ok)
			c := r.dial()
			c.get("/")
			time.Sleep(time.Hour)
			t0 := time.Now()
			closed := make(chan time.Duration, 1)
			go func() { closed <- c.waitClosed(t0) }()
			report, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.EqualValues(t, 1, report.Idle)
			after := <-closed - report.Accept.Took - report.Close.Took
			const look = 25 * time.Millisecond // and it is read once more, since the pipe is no socket
			assert.LessOrEqual(t, after, want+look)
			assert.GreaterOrEqual(t, after, min(want, 300*time.Millisecond))
		})
	}
}
