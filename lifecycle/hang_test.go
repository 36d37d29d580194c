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

	"github.com/lameduck-go/lameduck/lifecycle"
)

// whatHangs are components that never come to an end, and what the report says.
func whatHangs(release <-chan struct{}) []struct {
	name string
	c    lifecycle.Component
	want string
} {
	hang := func(context.Context) error { <-release; return nil }
	return []struct {
		name string
		c    lifecycle.Component
		want string
	}{
		{"start", lifecycle.Component{Start: hang}, "start guilty: lifecycle: not done by its deadline"},
		{"run", lifecycle.Component{Run: hang}, "run guilty: lifecycle: not done by its deadline"},
		{"stop", lifecycle.Component{Stop: hang}, "stop guilty: lifecycle: not done by its deadline"},
	}
}

func TestWhatHangsIsLeftBehindAndNamed(t *testing.T) {
	for _, tt := range whatHangs(nil) {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				guilty := lifecycle.Component{}
				for _, h := range whatHangs(release) {
					if h.name == tt.name {
						guilty = h.c
					}
				}
				guilty.Name, guilty.DependsOn = "guilty", []string{"db"}
				d := newDiary()
				a, log := app(guilty, d.component("db"), d.component("other"))
				t0 := time.Now()
				err := runFor(t, a, time.Minute)
				took := time.Since(t0) - time.Minute
				close(release)

				require.EqualError(t, err, tt.want)
				assert.ErrorIs(t, err, lifecycle.ErrDeadline)
				assert.Equal(t, 4, lifecycle.ExitCode(err))
				// guilty has half of the 28 s, because db below it has to stop too.
				assert.Equal(t, 16*time.Second, took)
				assert.Subset(t, d.lines(), []string{"1m2s other stopped", "1m16s db stopped"})
				assert.Contains(t, log.String(), "component=guilty")
				assert.Contains(t, log.String(), "whatHangs", "the log has the stack of what hangs")
			})
		})
	}
}

func TestEveryHangInAChainIsNamedBeforeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		a, _ := app(
			lifecycle.Component{Name: "a", DependsOn: []string{"b"}, Stop: hang},
			lifecycle.Component{Name: "b", DependsOn: []string{"c"}, Stop: hang},
			lifecycle.Component{Name: "c", DependsOn: []string{"d"}, Stop: hang},
			lifecycle.Component{Name: "d", Stop: hang},
		)
		a.Flush = hang
		t0 := time.Now()
		err := runFor(t, a, time.Minute)
		took := time.Since(t0) - time.Minute
		close(release)
		for _, name := range []string{"stop a", "stop b", "stop c", "stop d", "stop flush"} {
			assert.ErrorContains(t, err, name+": lifecycle: not done by its deadline")
		}
		assert.Equal(t, 29*time.Second, took, "28 s, and half of the reserve for Flush")
	})
}
