// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// Where no server is drained there is no accept window, and it does not end too late. No
// fake time goes by meanwhile, so this is for real.
func TestAcceptWindowWithoutServersIsOverAtOnce(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	for name, components := range map[string][]lifecycle.Component{
		"nothing":  nil,
		"a worker": {{Name: "worker", Drain: nothing}},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := app(components...)
			a.Shutdown("enough")
			require.NoError(t, a.Run(t.Context()))
			phases := a.Report().Phases
			require.Len(t, phases, 5)
			assert.Equal(t, lifecycle.PhaseReport{Name: "accept window"}, phases[0])
			assert.Equal(t, phases[1].Ended, phases[1].Took, "it counts from T0")
			assert.NotZero(t, phases[1].Ended)
		})
	}
}
