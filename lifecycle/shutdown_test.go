// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func TestShutdownBeforeRunStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, log := app(d.component("db"))
		a.Shutdown("not today")
		t0 := time.Now()
		require.NoError(t, a.Run(t.Context()))
		assert.Zero(t, time.Since(t0))
		assert.Empty(t, d.lines())
		assert.Equal(t, "not today", a.Report().Reason)
		assert.Equal(t, "not started", a.Report().Components[0].Fate)
		assert.Contains(t, log.String(), `reason="not today"`)
		assert.NotContains(t, log.String(), "Started")
	})
}

func TestContextThatIsOverStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("db"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, a.Run(ctx))
		assert.Empty(t, d.lines())
	})
}

func TestShutdownAfterRunDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		require.NoError(t, runFor(t, a, time.Second))
		a.Shutdown("late")
		assert.Equal(t, "signal: test", a.Report().Reason)
	})
}

// TestShutdownFromAnywhere: the reason is the first one, nothing waits for itself,
// and what has started is stopped.
func TestShutdownFromAnywhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		place func(a *lifecycle.App, c *lifecycle.Component, down func())
		lines []string
	}{
		{"a start", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Start = func(context.Context) error { down(); return nil }
		}, []string{"3s db stopped"}},
		{"a run", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error { down(); <-ctx.Done(); return nil }
		}, []string{"3s db stopped"}},
		{"a readiness check", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Ready = func(context.Context) error { down(); return nil }
		}, []string{"3s db stopped"}},
		{"a liveness check", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Probes = &probes.Registry{Logger: a.Logger}
			a.Probes.AddLiveness("own", func() error { time.Sleep(time.Second); down(); return nil })
		}, []string{"3s db stopped"}},
		{"an observer", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Observers = append(a.Observers, func(e lifecycle.Event) {
				if e.Instant == "Started" {
					down()
				}
			})
		}, []string{"3s db stopped"}},
		{"an observer, at once", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			a.Observers = append(a.Observers, func(e lifecycle.Event) { down() })
		}, nil},
		{"many goroutines", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error {
				var group sync.WaitGroup
				for range 100 {
					group.Go(down)
				}
				group.Wait()
				<-ctx.Done()
				return nil
			}
		}, []string{"3s db stopped"}},
		{"a stop, when it is too late", func(a *lifecycle.App, c *lifecycle.Component, down func()) {
			c.Run = func(ctx context.Context) error { down(); <-ctx.Done(); return nil }
			c.Stop = func(context.Context) error { a.Shutdown("late"); return nil }
			a.Flush = func(context.Context) error { a.Shutdown("later"); return nil }
		}, []string{"3s db stopped"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				c := lifecycle.Component{Name: "c", DependsOn: []string{"db"}}
				a, _ := app()
				tt.place(a, &c, func() { a.Shutdown("enough"); a.Shutdown("more than enough") })
				a.Components = []lifecycle.Component{d.component("db"), c}
				require.NoError(t, a.Run(t.Context()))
				assert.Equal(t, "enough", a.Report().Reason)
				for _, line := range tt.lines {
					assert.Contains(t, d.lines(), line)
				}
			})
		})
	}
}

func TestShutdownWithoutAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app()
		a.Shutdown("")
		require.NoError(t, a.Run(t.Context()))
		assert.Equal(t, "Shutdown was called", a.Report().Reason)
	})
}

// TestCauseThatHangsOrBreaks: the cause of the context's end is anybody's.
func TestCauseThatHangsOrBreaks(t *testing.T) {
	for name, tt := range map[string]struct {
		does func(forever <-chan struct{})
		want string
	}{
		"hangs":        {func(forever <-chan struct{}) { <-forever }, "not known: its text is not to be had"},
		"panics":       {func(<-chan struct{}) { panic("again") }, "panic: again"},
		"calls Goexit": {func(<-chan struct{}) { runtime.Goexit() }, "runtime.Goexit was called"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever := make(chan struct{})
				defer close(forever)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Minute, func() { cancel(hostile{func() { tt.does(forever) }}) })
				d := newDiary()
				a, _ := app(d.component("db"))
				require.NoError(t, a.Run(ctx))
				assert.Contains(t, strings.Join(d.lines(), "\n"), "db stopped")
				assert.Contains(t, a.Report().Reason, tt.want)
			})
		})
	}
}
