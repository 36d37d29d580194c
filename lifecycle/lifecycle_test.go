// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func TestOrderFollowsDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, log := app(d.component("orders", "db"), d.component("web", "orders", "users"), d.component("db"), d.component("users", "db"))
		require.NoError(t, runFor(t, a, time.Minute))
		got := d.lines()
		require.Len(t, got, 8)
		assert.Equal(t, "1s db started", got[0])
		assert.ElementsMatch(t, []string{"2s orders started", "2s users started"}, got[1:3])
		assert.Equal(t, "3s web started", got[3])
		assert.Equal(t, "1m2s web stopped", got[4])
		assert.ElementsMatch(t, []string{"1m4s orders stopped", "1m4s users stopped"}, got[5:7])
		assert.Equal(t, "1m6s db stopped", got[7])
		assert.Contains(t, log.String(), `reason="signal: test"`)
	})
}

func TestReadinessIsOffFromT0AndLivenessStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := new(probes.Registry)
		ask := func(h http.Handler) int {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			return rec.Code
		}
		states := func() [3]int {
			return [3]int{ask(reg.StartupHandler()), ask(reg.LiveHandler()), ask(reg.ReadyHandler())}
		}
		a, _ := app(lifecycle.Component{
			Name:  "db",
			Start: func(context.Context) error { assert.Equal(t, [3]int{503, 200, 503}, states()); return nil },
			Stop:  func(context.Context) error { assert.Equal(t, [3]int{200, 200, 503}, states()); return nil },
			Ready: func(context.Context) error { return nil },
		})
		a.Probes = reg
		time.AfterFunc(10*time.Second, func() { assert.Equal(t, [3]int{200, 200, 200}, states()) })
		require.NoError(t, runFor(t, a, time.Minute))
		assert.Equal(t, [3]int{200, 200, 503}, states())
	})
}

func TestComponentThatEndsBeginsTheShutdown(t *testing.T) {
	broken := errors.New("broken pipe dream")
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"without an error", nil, 0, ""},
		{"with an error", broken, 1, "run worker: broken pipe dream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDiary()
				a, log := app(d.component("db"), lifecycle.Component{
					Name:      "worker",
					DependsOn: []string{"db"},
					Run:       func(context.Context) error { time.Sleep(time.Hour); return tt.err },
				})
				err := a.Run(t.Context())
				assert.Equal(t, tt.code, lifecycle.ExitCode(err))
				assert.Equal(t, []string{"1s db started", "1h0m3s db stopped"}, d.lines())
				assert.Contains(t, log.String(), "worker")
				if tt.want == "" {
					require.NoError(t, err)
					return
				}
				require.EqualError(t, err, tt.want)
				require.ErrorIs(t, err, broken)
				e, ok := errors.AsType[*lifecycle.Error](err)
				require.True(t, ok)
				assert.Equal(t, "worker", e.Component)
			})
		})
	}
}

func TestRunContextLivesUntilItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary()
		a, _ := app(d.component("web", "worker"), lifecycle.Component{
			Name: "worker",
			Run: func(ctx context.Context) error {
				<-ctx.Done()
				d.note("worker told")
				return ctx.Err()
			},
			Stop: func(context.Context) error { d.note("worker's Stop"); return nil },
		})
		require.NoError(t, runFor(t, a, time.Minute))
		assert.ElementsMatch(t, []string{"1s web started", "1m2s web stopped", "1m2s worker told", "1m2s worker's Stop"}, d.lines())
	})
}
