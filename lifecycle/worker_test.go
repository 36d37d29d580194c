// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestWorkersFinishWhatTheyHaveTaken: their intake ends at T0, side by side, those on
// which others depend after those; only then anything is stopped.
func TestWorkersFinishWhatTheyHaveTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		worker := func(name string, takes time.Duration, dependsOn ...string) lifecycle.Component {
			c := d.component(name, dependsOn...)
			c.Start = nil
			c.Drain = func(context.Context) error {
				d.note("%s takes no more", name)
				time.Sleep(takes)
				d.note("%s has finished", name)
				return nil
			}
			return c
		}
		a, log := app(d.component("db"), worker("mailer", time.Second, "db"),
			worker("consumer", 4*time.Second, "mailer"), worker("cron", 3*time.Second, "db"))
		require.NoError(t, runFor(t, a, time.Minute))
		lines := d.lines()
		require.Len(t, lines, 11)
		assert.Equal(t, "1s db started", lines[0])
		assert.ElementsMatch(t, []string{"1m0s consumer takes no more", "1m0s cron takes no more"}, lines[1:3])
		assert.Equal(t, "1m3s cron has finished", lines[3])
		assert.ElementsMatch(t, []string{"1m4s consumer has finished", "1m4s mailer takes no more"}, lines[4:6])
		assert.Equal(t, "1m5s mailer has finished", lines[6])
		assert.ElementsMatch(t, []string{"1m7s cron stopped", "1m7s consumer stopped"}, lines[7:9])
		assert.Equal(t, []string{"1m9s mailer stopped", "1m11s db stopped"}, lines[9:])
		assert.Contains(t, log.String(), "instant=Drained component=mailer after=5s")
		assert.Equal(t, []time.Duration{0, time.Second, 4 * time.Second, 3 * time.Second}, drains(a.Report()))
		assert.Equal(t, 5*time.Second, a.Report().Phases[1].Ended)
	})
}

func drains(r *lifecycle.Report) (took []time.Duration) {
	for _, c := range r.Components {
		took = append(took, c.Drain)
	}
	return took
}

// TestDrainHasItsShare: a worker on whom another one depends has time too.
func TestDrainHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shares []time.Duration
		share := func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			shares = append(shares, time.Until(deadline))
			return nil
		}
		a, _ := app(lifecycle.Component{Name: "db", Drain: share},
			lifecycle.Component{Name: "web", Drain: share, DependsOn: []string{"cache"}},
			lifecycle.Component{Name: "cache", DependsOn: []string{"db"}})
		require.NoError(t, runFor(t, a, time.Minute))
		const margin = 50 * time.Millisecond
		assert.Equal(t, []time.Duration{11500*time.Millisecond - margin, 23*time.Second - margin}, shares)
	})
}

// TestHungStartHasItsShare: the worker below it is drained all the same, and what it
// opens when it has been left behind is closed again.
func TestHungStartHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		late := memnet.Listen()
		var share, behind time.Duration
		web := lifecycle.HTTP("web", new(http.Server), "worker")
		web.Listen = func(context.Context) (net.Listener, error) { <-release; return late, nil }
		a, _ := app(web, lifecycle.Component{Name: "worker", Drain: func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			share = time.Until(deadline)
			return nil
		}})
		var t0 time.Time
		a.Observers = append(a.Observers, func(e lifecycle.Event) {
			switch e.Instant {
			case "ShutdownInitiated":
				t0 = e.Time
			case "ComponentLeftBehind":
				behind = e.Time.Sub(t0)
			}
		})
		require.ErrorIs(t, runFor(t, a, time.Minute), lifecycle.ErrDeadline)
		assert.Equal(t, 11500*time.Millisecond, behind)
		assert.Equal(t, 11500*time.Millisecond-50*time.Millisecond, share)
		close(release)
		synctest.Wait()
		_, err := late.Accept()
		assert.ErrorIs(t, err, net.ErrClosed, "the listener that comes too late is closed")
	})
}

// TestFloorInAChain: no share cuts the floor, whatever has to be drained below.
func TestFloorInAChain(t *testing.T) {
	server := func(name string, floor time.Duration, dependsOn ...string) lifecycle.Component {
		c := lifecycle.HTTP(name, new(http.Server), dependsOn...)
		c.Listen = func(context.Context) (net.Listener, error) { return memnet.Listen(), nil }
		c.Server.Floor = floor
		return c
	}
	worker := lifecycle.Component{Name: "worker", Drain: func(context.Context) error { return nil }}
	busy := lifecycle.Component{Name: "busy", DependsOn: []string{"worker"}, Drain: func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		time.Sleep(time.Until(deadline))
		return nil
	}}
	for _, tt := range []struct {
		name       string
		grace      time.Duration
		components []lifecycle.Component
	}{
		{"above a worker", 15 * s, []lifecycle.Component{server("web", 5*s, "worker"), worker}},
		{"half of the time", 30 * s, []lifecycle.Component{server("web", 15*s, "worker"), worker}},
		{"all that there is", 30 * s, []lifecycle.Component{server("web", 20*s, "worker"), worker}},
		{"a quarter for the end", 8 * s, []lifecycle.Component{server("web", 3*s, "worker"), worker}},
		{"above two", 30 * s, []lifecycle.Component{server("web", 12*s, "busy"), busy, worker}},
		{"below a worker that takes its share", 30 * s, []lifecycle.Component{
			{Name: "first", DependsOn: []string{"web"}, Drain: busy.Drain}, server("web", 20*s, "worker"), worker}},
		{"longer below", 30 * s, []lifecycle.Component{server("top", 2*s, "web"), server("web", 20*s, "worker"), worker}},
		{"as long below", 30 * s, []lifecycle.Component{server("top", 20*s, "web"), server("web", 20*s, "worker"), worker}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := app(tt.components...)
				a.GracePeriod = tt.grace
				floors := make(map[string]time.Duration)
				above := make(map[string][]string)
				for _, c := range a.Components {
					if c.Server != nil {
						floors[c.Name] = c.Server.Floor
					}
					for _, d := range c.DependsOn {
						above[d] = append(above[d], c.Name)
					}
				}
				plan, err := a.Plan()
				require.NoError(t, err)
				window := plan.Phases[0]
				assert.LessOrEqual(t, window.Least, window.By)
				closed := 0
				drained := make(map[string]time.Duration)
				a.Observers = append(a.Observers, func(e lifecycle.Event) {
					switch e.Instant {
					case "AcceptWindowClosed":
						closed++
						want := floors[e.Component] // from T0, whenever it begins to drain
						for _, name := range above[e.Component] {
							want = max(want, drained[name])
						}
						assert.Equal(t, want, e.Took, e.Component)
						assert.LessOrEqual(t, e.Took, window.By, e.Component)
					case "Drained":
						drained[e.Component] = e.Took
					}
				})
				require.NoError(t, runFor(t, a, time.Minute))
				assert.Equal(t, len(floors), closed)
			})
		})
	}
}

// TestUnixSocket is a server on a socket of another kind.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	started := make(chan struct{})
	a, _ := app(
		lifecycle.Component{
			Name:   "unix",
			Server: &drain.Server{HTTP: &http.Server{Handler: http.NotFoundHandler()}},
			Listen: func(ctx context.Context) (net.Listener, error) { return drain.Listen(ctx, "unix", path) },
		},
	)
	onceStarted(a, func() { close(started) })
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context()) }()
	<-started
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	resp, err := client.Get("http://unix")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 404, resp.StatusCode)
	a.Shutdown("enough")
	require.NoError(t, <-done)
	assert.NoFileExists(t, path)
	_, err = os.Stat(path)
	assert.ErrorIs(t, err, os.ErrNotExist)
	served, _, _ := a.Report().Requests()
	assert.Zero(t, served, "none since T0")
}

// TestAdminIsAnsweredBesideTheProbes until the end.
func TestAdminIsAnsweredBesideTheProbes(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var a *lifecycle.App
	get := func(path string) int {
		resp, err := client.Get("http://" + a.ProbeAddr + path)
		if !assert.NoError(t, err) {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var codes []int
	a, _ = app(lifecycle.Component{Name: "last", Start: func(context.Context) error { a.Shutdown("enough"); return nil }})
	a.ProbeAddr = freeAddr(t)
	a.Admin = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	a.Flush = func(context.Context) error {
		codes = []int{get("/metrics"), get("/livez"), get("/readyz")}
		return nil
	}
	require.NoError(t, a.Run(t.Context()))
	assert.Equal(t, []int{http.StatusTeapot, 200, 503}, codes)
}
