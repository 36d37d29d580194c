// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// TestOptionalIsNotRedByAge: a result that nobody renews any more makes an optional check
// degraded, and a critical one red.
func TestOptionalIsNotRedByAge(t *testing.T) {
	for want, optional := range map[string]bool{"200 ok, degraded: cache\n": true, "503 not ready: cache\n": false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			require.NoError(t, r.AddReadiness(probes.Check{Name: "cache", Func: pass, Optional: optional}))
			r.run()
			time.Sleep(time.Minute)
			assert.Equal(t, okBody, r.readyz())
			r.end()
			assert.Equal(t, okBody, r.readyz(), "not too old yet")
			time.Sleep(forLong)
			assert.Equal(t, want, r.readyz())
		})
	}
}
