// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// moments are when a test's request begins, from Drain's call on, with a floor of a
// second: just before it, in the accept window, and once the listener is closed.
var moments = map[string]time.Duration{
	"before":           -time.Millisecond,
	"in the window":    600 * time.Millisecond,
	"after the window": 1200 * time.Millisecond,
}

// drainAround calls begin in a goroutine of its own at a moment of a drain, waits for
// both, and returns the report.
func (r *rig) drainAround(moment time.Duration, begin func()) drain.Report {
	r.t.Helper()
	done := make(chan struct{})
	time.AfterFunc(max(moment, 0), func() {
		defer close(done)
		begin()
	})
	if moment < 0 {
		time.Sleep(-moment)
	}
	report, _, err := r.drain(28 * time.Second)
	<-done
	require.NoError(r.t, err)
	return report
}
