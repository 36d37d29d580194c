// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestShutdownIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var down atomic.Bool
		down.Store(true)
		r.ready("db", func(context.Context) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		slow := make(chan struct{})
		r.ready("slow", func(ctx context.Context) error { <-slow; return nil })
		r.run()
		r.log()
		r.Shutdown()
		down.Store(false)
		close(slow)
		assert.Equal(t, shutdown, r.readyz())
		r.Started()
		r.ready("late", pass)
		time.Sleep(forLong)
		assert.Equal(t, shutdown, r.readyz())
		assert.Empty(t, r.log(), "what is checked may be stopped by now")
		r.end()
		assert.Equal(t, shutdown, r.readyz())
	})

	t.Run("against everything else at once", func(t *testing.T) {
		r := new(probes.Registry)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				r.Started()
				assert.NoError(t, r.AddReadiness(probes.Check{Name: strconv.Itoa(i), Func: pass}))
				if i == 50 {
					r.Shutdown()
					assert.Equal(t, shutdown, get(r.ReadyHandler()))
				}
			})
		}
		wg.Wait()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
	})

	t.Run("before Started", func(t *testing.T) {
		r := new(probes.Registry)
		r.Shutdown()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
		assert.Equal(t, starting, get(r.StartupHandler()))
		r.Started()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
	})
}

func TestMomentOfShutdown(t *testing.T) {
	for moment, want := range map[probes.Moment][2]string{
		probes.AtShutdown:           {shutdown, shutdown},
		probes.AtAcceptWindowClosed: {okBody, shutdown},
		probes.Never:                {okBody, okBody},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.RedAt = moment
			var calls atomic.Int32
			r.ready("db", func(context.Context) error { calls.Add(1); return nil })
			r.run()
			asked := calls.Load()
			r.Shutdown()
			time.Sleep(forLong)
			assert.Equal(t, want[0], r.readyz())
			assert.Equal(t, okBody, get(r.ServingHandler()), "the listener accepts")
			assert.True(t, r.Status().ShuttingDown)
			assert.Equal(t, asked, calls.Load())
			r.AcceptWindowClosed()
			r.AcceptWindowClosed()
			assert.Equal(t, want[1], r.readyz())
			assert.Equal(t, shutdown, get(r.ServingHandler()))
			assert.Equal(t, okBody, r.live())
			r.end()
		})
	}

	t.Run("keeps what was red before it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.RedAt = probes.Never
			var db service
			db.down.Store(true)
			require.NoError(t, r.AddReadiness(db.check("db")))
			r.run()
			r.Shutdown()
			db.down.Store(false)
			time.Sleep(forLong)
			assert.Equal(t, "503 not ready: db\n", r.readyz())
			assert.Equal(t, "503 not ready: db\n", get(r.ServingHandler()))
			r.end()
		})
	})

	t.Run("the window may close first", func(t *testing.T) {
		r := new(probes.Registry)
		r.Started()
		assert.Equal(t, okBody, get(r.ServingHandler()))
		r.AcceptWindowClosed()
		assert.Equal(t, shutdown, get(r.ReadyHandler()))
		assert.Equal(t, shutdown, get(r.ServingHandler()))
	})
}

// Who asks for one check during the accept window is told what who asks for all
// is: nobody runs the checks any more, and so their results do not grow old.
func TestChecksAtShutdownStayWhatTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.RedAt = probes.AtAcceptWindowClosed
		hang := make(chan struct{})
		defer close(hang)
		var slow, demanded service
		c := demanded.onDemand("demanded", time.Second)
		require.NoError(t, r.AddReadiness(c,
			probes.Check{Name: "db", Func: pass},
			probes.Check{Name: "shared", Tolerate: time.Hour, Func: func(context.Context) error {
				if slow.calls.Add(1) > 1 {
					return errDown
				}
				return nil
			}},
			probes.Check{Name: "orders", DependsOn: []string{"shared"}, Func: pass},
		))
		r.run()
		require.Equal(t, "200 ok\n", get(r.ReadyHandler()))
		time.Sleep(probes.DefaultInterval)
		ask := func(target string) string {
			w := request(r.Handler(), http.MethodGet, target)
			return fmt.Sprint(w.Code, " ", w.Body)
		}
		_ = ask("/readyz/demanded")
		require.NoError(t, r.AddReadiness(
			probes.Check{Name: "hangs", InitiallyPassing: true, Func: func(context.Context) error { <-hang; return nil }}))
		synctest.Wait()
		verbose := ask("/servingz?verbose")
		require.Equal(t, `200 ok, degraded: orders, shared
[+]db ok
[+]demanded ok
[+]hangs ok
[~]orders degraded: skipped because of shared
[~]shared degraded: connection refused (password=hunter2)
`, verbose)
		r.Shutdown()
		require.NoError(t, r.AddReadiness(probes.Check{Name: "zz", Func: fail}))
		for range 10 {
			for _, probe := range []string{"/readyz", "/servingz"} {
				assert.Equal(t, verbose+"[~]zz degraded: not run yet\n", ask(probe+"?verbose"))
				assert.Equal(t, "200 ok\n", ask(probe+"/db"))
				assert.Equal(t, "200 ok\n", ask(probe+"/demanded"))
				assert.Equal(t, "200 ok\n", ask(probe+"/hangs"))
				assert.Equal(t, "200 ok, degraded: shared\n", ask(probe+"/shared"))
				assert.Equal(t, "200 ok, degraded: orders\n", ask(probe+"/orders"))
				assert.Equal(t, "200 ok, degraded: zz\n", ask(probe+"/zz"))
				assert.NotContains(t, ask(probe+"?format=html"), "no result in time")
				assert.NotContains(t, ask(probe+"?format=json&verbose"), "no result in time")
			}
			time.Sleep(forLong)
		}
		calls := demanded.calls.Load()
		r.AcceptWindowClosed()
		for _, probe := range []string{"/readyz", "/servingz"} {
			assert.Equal(t, shutdown, ask(probe+"/db"))
			assert.Equal(t, shutdown, ask(probe+"/zz"))
		}
		assert.Equal(t, calls, demanded.calls.Load())
		r.end()
	})
}
