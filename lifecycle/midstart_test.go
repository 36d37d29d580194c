// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNothingStartsOnceTheShutdownHasBegun: not even what has waited for a start that
// comes to its end while others still drain.
func TestNothingStartsOnceTheShutdownHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		worker, slow := d.component("worker"), d.component("slow")
		worker.Drain = func(context.Context) error { time.Sleep(5 * time.Second); return nil }
		slow.Start = func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			d.note("slow started")
			return nil
		}
		a, _ := app(worker, slow, d.component("web", "slow"))
		require.NoError(t, runFor(t, a, 5*time.Second))
		lines := d.lines()
		require.Len(t, lines, 4)
		assert.Equal(t, []string{"1s worker started", "6s slow started"}, lines[:2])
		assert.ElementsMatch(t, []string{"12s worker stopped", "12s slow stopped"}, lines[2:])
		assert.Equal(t, "not started", a.Report().Components[2].Fate)
	})
}
