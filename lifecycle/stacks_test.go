// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func stuckInA(release <-chan struct{})          { <-release }
func stuckInB(release <-chan struct{})          { <-release }
func stuckWithoutLabel(release <-chan struct{}) { <-release }

// relabelled hangs with labels that have replaced the component's.
func relabelled(release <-chan struct{}) {
	pprof.Do(context.Background(), pprof.Labels("tenant", "t1"), func(context.Context) { stuckWithoutLabel(release) })
}

// TestStacksAreFoundWithoutTheLabel: whatever the code that hangs has made of the
// labels, its stack is in the report.
func TestStacksAreFoundWithoutTheLabel(t *testing.T) {
	for _, tt := range []struct {
		name  string
		guilt func(a *lifecycle.App, release <-chan struct{})
		says  string
	}{
		{"a function", func(a *lifecycle.App, release <-chan struct{}) {
			a.Components[0].Stop = func(context.Context) error { relabelled(release); return nil }
		}, "without its label, but in its functions: 1 @ "},
		{"a start", func(a *lifecycle.App, release <-chan struct{}) {
			a.Components[0].Start = func(context.Context) error { relabelled(release); return nil }
		}, "without its label, but in its functions: 1 @ "},
		{"a listen", func(a *lifecycle.App, release <-chan struct{}) {
			serveOne(a, nil)
			a.Components[0].Listen = func(context.Context) (net.Listener, error) { relabelled(release); return memnet.Listen(), nil }
		}, "without its label, but in its functions: 1 @ "},
		{"a goroutine of its own", func(a *lifecycle.App, release <-chan struct{}) {
			a.Components[0].Stop = func(ctx context.Context) error {
				pprof.SetGoroutineLabels(context.Background())
				done := make(chan struct{})
				go func() { defer close(done); relabelled(release) }()
				<-done
				return nil
			}
		}, "stuckWithoutLabel"},
		{"a handler, by its request", func(a *lifecycle.App, release <-chan struct{}) {
			serveOne(a, func(_ http.ResponseWriter, r *http.Request) {
				pprof.Do(r.Context(), pprof.Labels("tenant", "t1"), func(context.Context) { stuckWithoutLabel(release) })
			})
		}, `"lameduck.component":"guilty", "tenant":"t1"}`},
		{"a handler", func(a *lifecycle.App, release <-chan struct{}) {
			serveOne(a, func(http.ResponseWriter, *http.Request) { relabelled(release) })
		}, "without its label, but in its functions: 1 @ "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer time.Sleep(time.Second)
				defer close(release)
				a, _ := app(lifecycle.Component{Name: "guilty"})
				tt.guilt(a, release)
				require.ErrorIs(t, runFor(t, a, time.Minute), lifecycle.ErrDeadline)
				stacks := a.Report().Components[0].Stacks
				assert.Contains(t, stacks, tt.says)
				assert.Contains(t, stacks, "stuckWithoutLabel")
			})
		})
	}
}

// serveOne makes the App's component a server, with a request under way.
func serveOne(a *lifecycle.App, h http.HandlerFunc) {
	l := memnet.Listen()
	a.Components[0] = lifecycle.HTTP("guilty", &http.Server{Handler: h})
	a.Components[0].Listen = func(context.Context) (net.Listener, error) { return l, nil }
	a.Components = append(a.Components, lifecycle.Component{Name: "client", DependsOn: []string{"guilty"}, Run: func(ctx context.Context) error {
		nc, err := l.Dial(ctx)
		if err != nil {
			return err
		}
		defer nc.Close()
		fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: guilty\r\n\r\n")
		<-ctx.Done()
		return nil
	}})
}

// A stopper is known to the component by its interface, whose name no stack has.
type stopper interface{ Stop(context.Context) error }

type stuckStopper <-chan struct{}

func (s stuckStopper) Stop(context.Context) error { relabelled(s); return nil }

// TestNobodysStacksAreTheLastResort: where nothing carries the label and nothing is in
// a function of the component, the stacks of the goroutines that carry none are
// better than nothing.
func TestNobodysStacksAreTheLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		slow := func(context.Context) error { <-release; return nil }
		a, _ := app(lifecycle.Component{Name: "guilty", Stop: stopper(stuckStopper(release)).Stop}, lifecycle.Component{Name: "slow", Run: slow})
		require.ErrorIs(t, runFor(t, a, time.Minute), lifecycle.ErrDeadline)
		stacks := a.Report().Components[0].Stacks
		assert.Contains(t, stacks, "no goroutine carries its label; the stacks of those that carry none")
		assert.Contains(t, stacks, "stuckWithoutLabel")
		assert.NotContains(t, stacks, "lifecycle.awaited", "what waits for slow is the App's own")
	})
}

// TestStacksAreOfOneApp: a component of the same name in another App hangs too.
func TestStacksAreOfOneApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		ended := make(chan error)
		a, _ := app(lifecycle.Component{Name: "db", Stop: func(context.Context) error { stuckInA(release); return nil }})
		b, _ := app(lifecycle.Component{Name: "db", Stop: func(context.Context) error { stuckInB(release); return nil }})
		go func() { ended <- runFor(t, a, time.Minute) }()
		require.ErrorIs(t, runFor(t, b, time.Minute), lifecycle.ErrDeadline)
		require.ErrorIs(t, <-ended, lifecycle.ErrDeadline)
		for _, tt := range []struct {
			app          *lifecycle.App
			own, another string
		}{{a, "stuckInA", "stuckInB"}, {b, "stuckInB", "stuckInA"}} {
			assert.Contains(t, tt.app.Report().Components[0].Stacks, tt.own)
			assert.NotContains(t, tt.app.Report().Components[0].Stacks, tt.another)
		}
	})
}

// TestStacksAreBounded: a component with many goroutines fills no disk, and what is
// left out is counted.
func TestStacksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		a, _ := app(lifecycle.Component{Name: "guilty", Run: func(ctx context.Context) error {
			for i := range 200 {
				go pprof.Do(ctx, pprof.Labels("n", fmt.Sprint(i)), func(context.Context) { stuckInA(release) })
			}
			<-release
			return nil
		}})
		require.ErrorIs(t, runFor(t, a, time.Minute), lifecycle.ErrDeadline)
		stacks := a.Report().Components[0].Stacks
		assert.Less(t, len(stacks), 16<<10+200)
		n := strings.Count(stacks, "# labels: ")
		assert.Greater(t, n, 10)
		assert.Contains(t, stacks, fmt.Sprintf("and %d more, beyond the 16 KiB of stacks that are written of one component", 201-n))
	})
}
