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

// TestRunLeavesTheFieldsOfAServer, which are the program's to read at any time.
func TestRunLeavesTheFieldsOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := &fakeGRPC{d: newDiary()}, new(http.Server)
		servers := []*drain.Server{{GRPC: g}, {HTTP: h}, {HTTP: new(http.Server), Floor: 3 * s}}
		a, _ := app()
		a.Floor = time.Second
		for i, srv := range servers {
			a.Components = append(a.Components, lifecycle.Component{
				Name: string(rune('a' + i)), Server: srv,
				Listen: func(context.Context) (net.Listener, error) { return memnet.Listen(), nil },
			})
		}
		look := func() {
			assert.Same(t, g, servers[0].GRPC)
			assert.Same(t, h, servers[1].HTTP)
			for i, want := range []time.Duration{0, 0, 3 * s} {
				assert.Equal(t, want, servers[i].Floor)
			}
		}
		a.Components = append(a.Components, lifecycle.Component{Name: "reader", Run: func(ctx context.Context) error {
			for ctx.Err() == nil {
				look()
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}})
		require.NoError(t, runFor(t, a, time.Minute))
		look()
		assert.InDelta(t, 3*s, a.Report().Took, float64(s/10), "each has had its floor")
	})
}
