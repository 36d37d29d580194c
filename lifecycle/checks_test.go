// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func TestCheckWaitsForItsStartAndPassesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var db *diary
		a, log := app(lifecycle.Component{
			Name:  "db",
			Start: func(context.Context) error { time.Sleep(time.Minute); db = newDiary(); return nil },
			Ready: func(context.Context) error { db.note("asked"); return nil }, // panics before the start
		})
		require.NoError(t, runFor(t, a, time.Minute+time.Second))
		assert.Equal(t, []string{"0s asked"}, db.lines())
		assert.NotContains(t, log.String(), "failing")
	})
}

func TestReadinessNamesTheRootCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(context.Context) error { return nil }
		a, _ := app(
			lifecycle.Component{Name: "web", DependsOn: []string{"orders", "users"}, Ready: pass},
			lifecycle.Component{Name: "orders", DependsOn: []string{"pool"}, Ready: pass},
			lifecycle.Component{Name: "users", DependsOn: []string{"pool", "db"}, Ready: pass},
			lifecycle.Component{Name: "pool", DependsOn: []string{"db"}}, // nothing to ask
			lifecycle.Component{Name: "db", Ready: func(context.Context) error { return errors.New("down") }},
		)
		a.Probes = &probes.Registry{Logger: a.Logger}
		time.AfterFunc(time.Minute/2, func() {
			assert.Equal(t, "not ready: db; skipped: orders, users, web", a.Probes.Status().Reason)
		})
		require.NoError(t, runFor(t, a, time.Minute))
	})
}

func TestCheckNameThatIsTakenFailsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(context.Context) error { return nil }
		d := newDiary()
		c := d.component("db")
		c.Ready = pass
		a, _ := app(c)
		a.Probes = new(probes.Registry)
		require.NoError(t, a.Probes.AddReadiness(probes.Check{Name: "db", Func: pass}))
		err := a.Run(t.Context())
		require.ErrorIs(t, err, lifecycle.ErrStart)
		assert.ErrorContains(t, err, `there is a readiness check "db" already`)
		assert.Equal(t, []string{"1s db started", "3s db stopped"}, d.lines())
	})
}

func TestPanicOfAnyCheckIsAnErrorAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := app(lifecycle.Component{Name: "queue", Ready: func(context.Context) error { runtime.Goexit(); return nil }})
		a.Probes = &probes.Registry{Logger: a.Logger}
		require.NoError(t, a.Probes.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error { panic("odd") }}))
		err := runFor(t, a, time.Minute)
		require.EqualError(t, err, "check db: panic: odd\ncheck queue: runtime.Goexit called")
		assert.Equal(t, 1, lifecycle.ExitCode(err))
	})
}
