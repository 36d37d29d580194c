// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func TestPlanChangesNothing(t *testing.T) {
	web := &drain.Server{HTTP: new(http.Server)}
	a := &lifecycle.App{Floor: 3 * time.Second, Components: []lifecycle.Component{{Name: "web", Server: web}}}
	first, err := a.Plan()
	require.NoError(t, err)
	second, err := a.Plan()
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Zero(t, web.Floor)
}

func TestPlanIsTheErrorOfRun(t *testing.T) {
	a := &lifecycle.App{Components: []lifecycle.Component{{Name: "a", DependsOn: []string{"a"}}}}
	_, err := a.Plan()
	require.ErrorIs(t, err, lifecycle.ErrConfig)
	require.EqualError(t, err, "lifecycle: invalid configuration: dependency cycle: a -> a")
	assert.Equal(t, err.Error(), a.Run(t.Context()).Error())
}

func TestPlannedAcceptWindow(t *testing.T) {
	server := func(name string, floor, limit time.Duration, dependsOn ...string) lifecycle.Component {
		return lifecycle.Component{Name: name, DependsOn: dependsOn, Server: &drain.Server{HTTP: new(http.Server), Floor: floor, Cap: limit}}
	}
	const s = time.Second
	for _, tt := range []struct {
		name       string
		components []lifecycle.Component
		least, by  time.Duration
	}{
		{"no server", nil, 0, 0},
		{"half of the drain's time", []lifecycle.Component{server("a", -1, 0)}, 0, 11*s + s/2},
		{"a cap", []lifecycle.Component{server("a", 2*s, 3*s)}, 2 * s, 3 * s},
		{"a floor above the cap", []lifecycle.Component{server("a", 5*s, 3*s)}, 5 * s, 5 * s},
		{"no cap", []lifecycle.Component{server("a", 2*s, -1)}, 2 * s, 20 * s},
		{"the longest of two", []lifecycle.Component{server("a", 2*s, 3*s), server("b", s, 4*s)}, 2 * s, 4 * s},
		// The gateway has half of the 23 s, and half of that for its window; the
		// backend has the rest.
		{"a backend after its gateway", []lifecycle.Component{server("gateway", -1, 0, "backend"), server("backend", -1, 0)},
			0, 11*s + s/2 + (11*s+s/2)/2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := (&lifecycle.App{Components: tt.components}).Plan()
			require.NoError(t, err)
			assert.Equal(t, lifecycle.PlannedPhase{Name: "accept window", Least: tt.least, By: tt.by}, plan.Phases[0])
		})
	}
}
