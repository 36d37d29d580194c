// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSkippedIsNotCalled: not beneath something that is skipped itself, and not while
// what failed has passed less often than it has to.
func TestSkippedIsNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db, orders, web service
		db.down.Store(true)
		root := db.check("db")
		root.SuccessThreshold = 3
		require.NoError(t, r.AddReadiness(root, orders.check("orders", "db"), web.check("web", "orders")))
		r.run()
		time.Sleep(forLong)
		require.Equal(t, "503 not ready: db; skipped: orders, web\n", r.readyz())
		db.down.Store(false)
		for before := db.calls.Load(); db.calls.Load() < before+3; time.Sleep(time.Second) {
			assert.Zero(t, orders.calls.Load()+web.calls.Load())
		}
		time.Sleep(time.Second)
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, []int32{1, 1}, []int32{orders.calls.Load(), web.calls.Load()})
		r.end()
	})
}
