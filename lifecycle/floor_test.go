// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestFloorOfAnApp: what the floor of a server is that sets none.
func TestFloorOfAnApp(t *testing.T) {
	const inside = "10.0.0.1" // KUBERNETES_SERVICE_HOST
	for _, tt := range []struct {
		name, kubernetes, delay string
		floor, want             time.Duration
	}{
		{name: "none outside Kubernetes", want: 0},
		{name: "the default inside it", kubernetes: inside, want: drain.DefaultFloor},
		{name: "of the environment", kubernetes: inside, delay: "7s", want: 7 * time.Second},
		{name: "of the environment, outside", delay: "7s", want: 7 * time.Second},
		{name: "none, by the environment", kubernetes: inside, delay: "0s", want: 0},
		{name: "the App's", kubernetes: inside, delay: "7s", floor: 3 * time.Second, want: 3 * time.Second},
		{name: "none, by the App", kubernetes: inside, delay: "7s", floor: -1, want: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", tt.kubernetes)
			t.Setenv("SHUTDOWN_DELAY", tt.delay)
			synctest.Test(t, func(t *testing.T) {
				web := lifecycle.HTTP("web", new(http.Server))
				web.Listen = func(context.Context) (net.Listener, error) { return memnet.Listen(), nil }
				a, _ := app(web)
				a.Floor = tt.floor
				var window time.Duration
				a.Observers = append(a.Observers, func(e lifecycle.Event) {
					if e.Instant == "AcceptWindowClosed" {
						window = e.Took
					}
				})
				require.NoError(t, runFor(t, a, time.Minute))
				assert.Equal(t, tt.want, window)
			})
		})
	}
}
