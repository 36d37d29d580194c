// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		c := db.check("db")
		c.FailureThreshold, c.SuccessThreshold = 3, 2
		c.Interval, c.FailingInterval = 10*time.Second, time.Second
		require.NoError(t, r.AddReadiness(c))
		r.run()
		require.Equal(t, okBody, r.readyz(), "the first result counts for itself")
		db.down.Store(true)
		time.Sleep(10 * time.Second) // 1
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Second) // 2, at the own interval
		assert.Equal(t, okBody, r.readyz())
		db.down.Store(false)
		time.Sleep(time.Second) // a success resets the count
		assert.Equal(t, okBody, r.readyz())
		assert.Empty(t, r.log())
		db.down.Store(true)
		time.Sleep(12*time.Second - 1)
		assert.Equal(t, okBody, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not ready: db\n", r.readyz(), "3 in a row")
		db.down.Store(false)
		time.Sleep(2*time.Second - 1)
		assert.Equal(t, "503 not ready: db\n", r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, okBody, r.readyz(), "2 in a row")
		assert.EqualValues(t, 9, db.calls.Load())
		assert.Equal(t, 2, strings.Count(r.log(), "\n"))
		r.end()
	})

	t.Run("while a run hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			release, calls := make(chan struct{}), 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 3, Jitter: -1, Func: func(context.Context) error {
				if calls++; calls == 2 {
					<-release
				}
				return nil
			}}))
			r.run()
			const hangs = probes.DefaultInterval + probes.DefaultTimeout // of the second run
			time.Sleep(hangs + 2*(probes.DefaultInterval+probes.DefaultTimeout) - 1)
			assert.Equal(t, okBody, get(r.ReadyHandler()))
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", get(r.ReadyHandler()), "each interval counts")
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=13s error=\"timed out after 1s\"\n", r.log())
			close(release)
			r.end()
		})
	})

	t.Run("a run that is late counts once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			calls := 0
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 2, Jitter: -1, Func: func(context.Context) error {
				if calls++; calls == 2 {
					time.Sleep(probes.DefaultTimeout + time.Second)
				}
				return nil
			}}))
			r.run()
			for range 20 {
				time.Sleep(time.Second)
				assert.Equal(t, okBody, r.readyz())
			}
			assert.Equal(t, 4, calls)
			r.end()
		})
	})

	t.Run("when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(probes.Check{Name: "db", FailureThreshold: 2, Jitter: -1, Func: pass}))
			r.run()
			r.end()
			time.Sleep(2*(probes.DefaultInterval+probes.DefaultTimeout) - 1)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Nanosecond)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
		})
	})
}
