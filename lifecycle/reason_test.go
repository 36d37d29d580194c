// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestTheFirstReasonCounts: of those that come before Run, and of those that come later.
func TestTheFirstReasonCounts(t *testing.T) {
	for name, before := range map[string]bool{"before Run": true, "while it runs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, log := app(lifecycle.Component{Name: "db"})
				twice := func(context.Context) error { a.Shutdown("first"); a.Shutdown("second"); return nil }
				if before {
					twice(t.Context())
				} else {
					a.Components[0].Start = twice
				}
				require.NoError(t, a.Run(t.Context()))
				assert.Equal(t, "first", a.Report().Reason)
				assert.Contains(t, log.String(), `reason=first`)
				assert.NotContains(t, log.String(), "second")
			})
		})
	}
}
