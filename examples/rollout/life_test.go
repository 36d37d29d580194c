// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReplicaTellsItsInstants: those of lifecycle's events, at the times that are
// theirs, between what its parent sees.
func TestReplicaTellsItsInstants(t *testing.T) {
	ctx := t.Context()
	p, err := launch(ctx, config{}, lameduck, "replica 1", time.Now())
	require.NoError(t, err)
	_, err = p.terminate(ctx)
	require.NoError(t, err)
	var names []string
	for _, m := range p.marks {
		names = append(names, m.Instant)
	}
	assert.Equal(t, []string{"Launched", "Starting", "ComponentStarted", "Started", "SIGTERM", "ShutdownInitiated",
		"AcceptWindowClosed", "Drained", "ComponentStopped", "ComponentsStopped", "Flushed", "Exited", "Gone"}, names)
	assert.True(t, slices.IsSortedFunc(p.marks, func(a, b mark) int { return int(a.At - b.At) }), p.marks)
	assert.Zero(t, p.cmd.ProcessState.ExitCode())
}

// second is the x of a time, a pixel a second.
func second(d time.Duration) float64 { return d.Seconds() }

func TestLifeIsDrawnFromItsInstants(t *testing.T) {
	at := func(instant string, s int) mark { return mark{instant, time.Duration(s) * time.Second} }
	for _, tt := range []struct {
		name     string
		marks    []mark
		bars     []bar
		instants int
	}{
		{"lameduck", []mark{
			at("Launched", 0), at("Started", 1), at("SIGTERM", 2), at("ShutdownInitiated", 3), at("AcceptWindowClosed", 5),
			at("Drained", 8), at("ComponentsStopped", 12), at("Flushed", 13), at("Exited", 14), at("Gone", 15),
		}, []bar{
			{0, 1, "starting", "a: starting from 0.00 s to 1.00 s"},
			{1, 2, "serving", "a: serving from 1.00 s to 3.00 s"},
			{3, 2, "accept-window", "a: accept window from 3.00 s to 5.00 s"},
			{5, 3, "lingering", "a: lingering from 5.00 s to 8.00 s"},
			{8, 7, "stopping", "a: stopping from 8.00 s to 15.00 s"},
		}, 6},
		{"killed by the signal", []mark{at("Launched", 0), at("Started", 1), at("SIGTERM", 2), at("Gone", 3)}, []bar{
			{0, 1, "starting", "a: starting from 0.00 s to 1.00 s"},
			{1, 1, "serving", "a: serving from 1.00 s to 2.00 s"},
			{2, 1, "accept-window", "a: accept window from 2.00 s to 3.00 s"},
		}, 0},
		{"still there", []mark{at("Launched", 0), at("Started", 1)}, []bar{
			{0, 1, "starting", "a: starting from 0.00 s to 1.00 s"},
			{1, 19, "serving", "a: serving from 1.00 s to 20.00 s"},
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lane{"a", tt.marks}
			assert.Equal(t, tt.bars, bars(l, 20*time.Second, second))
			instants := l.instants(second)
			assert.Len(t, instants, tt.instants)
			r := rollout{Lanes: []lane{l}}
			if tt.instants == len(wayDown) {
				assert.Equal(t, instantMark{8, "a: Drained at 8.000 s"}, instants[2])
				assert.Equal(t, "AcceptWindowClosed 2.00 s, Drained 5.00 s, ComponentsStopped 9.00 s, Flushed 10.00 s, Exited 11.00 s", r.instants())
			} else {
				assert.Empty(t, r.instants())
			}
		})
	}
}
