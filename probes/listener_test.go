// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// A listener is where a program reacts to a change: to end itself, for example.
func TestListenerMayCallAnyMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var db service
		require.NoError(t, r.AddReadiness(db.check("db")))
		called := false
		r.OnChange = func(c probes.Change) {
			if c.Check != "db" || c.To != "failing" {
				return
			}
			called = true
			t0 := time.Now()
			r.ready("late", pass)
			assert.NoError(t, r.AddLiveness("late", func() error { return nil }))
			beat, err := r.AddHeartbeat("beat", time.Hour)
			assert.NoError(t, err)
			beat.Beat()
			beat.Stop()
			_, err = r.Expect("migrations")
			assert.ErrorIs(t, err, probes.ErrInvalid, "start-up is over")
			r.Started()
			r.Maintain("", time.Hour)
			r.EndMaintenance()
			r.History()
			r.Status()
			for range r.Watch(t.Context()) {
				break
			}
			for _, path := range []string{"/livez", "/readyz", "/startupz", "/servingz", "/readyz?verbose", "/"} {
				request(r.Handler(), http.MethodGet, path)
			}
			r.Shutdown()
			r.AcceptWindowClosed()
			assert.Zero(t, time.Since(t0))
		}
		r.run()
		db.down.Store(true)
		time.Sleep(forLong)
		synctest.Wait() // so that what the listener has written is seen
		assert.True(t, called)
		assert.Equal(t, shutdown, r.readyz())
		r.end()
	})
}

func TestHistoryAndListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var heard []probes.Change
		r.OnChange = func(c probes.Change) {
			heard = append(heard, c)
			r.History() // any method may be called
			r.Status()
		}
		var db service
		require.NoError(t, r.AddReadiness(db.check("db"), probes.Check{Name: "web", DependsOn: []string{"db"}, Func: pass}))
		t0 := time.Now()
		r.run()
		db.down.Store(true)
		time.Sleep(30 * time.Second)
		r.Shutdown()
		synctest.Wait()
		type change struct {
			after                          time.Duration
			probe, check, from, to, reason string
		}
		var got []change
		for _, c := range r.History() {
			got = append(got, change{c.Time.Sub(t0), c.Probe, c.Check, c.From, c.To, c.Reason})
		}
		assert.Equal(t, []change{
			{0, "readiness", "", "failing", "passing", "ok"},
			{0, "startup", "", "failing", "passing", "ok"},
			{0, "readiness", "", "passing", "failing", "not ready: db, web"},
			{0, "readiness", "db", "unknown", "passing", ""},
			{0, "readiness", "web", "unknown", "passing", ""},
			{0, "readiness", "", "failing", "passing", "ok"},
			{5 * time.Second, "readiness", "db", "passing", "failing", errDown.Error()},
			{5 * time.Second, "readiness", "web", "passing", "skipped", "skipped because of db"},
			{5 * time.Second, "readiness", "", "passing", "failing", "not ready: db; skipped: web"},
			{30 * time.Second, "readiness", "", "failing", "failing", "not ready: shutting down"},
		}, got)
		assert.Equal(t, r.History(), heard, "in the same order, nothing left out")
		r.end()
	})

	t.Run("no more than 100", func(t *testing.T) {
		var r probes.Registry
		r.Started()
		for i := range 200 {
			r.Maintain(fmt.Sprint(i), 0)
			r.EndMaintenance()
		}
		h := r.History()
		require.Len(t, h, 100)
		assert.Equal(t, "not ready: maintenance: 199", h[98].Reason)
	})
}

func TestListenerThatMisbehaves(t *testing.T) {
	for name, do := range map[string]func(){
		"panic":  func() { panic(new(badError)) },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				calls := 0
				r.OnChange = func(probes.Change) { calls++; do() }
				r.ready("db", pass)
				r.run()
				r.Maintain("", 0)
				r.EndMaintenance()
				synctest.Wait()
				assert.Len(t, r.History(), calls)
				assert.Equal(t, okBody, r.readyz())
				assert.Equal(t, name == "panic", strings.Contains(r.all(), `msg="probes: listener panicked" error="panic: %!v(PANIC=Error method: no text)"`))
				r.end()
			})
		})
	}

	t.Run("blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			stuck, calls := make(chan struct{}), 0
			r.OnChange = func(probes.Change) { calls++; <-stuck }
			r.ready("db", pass)
			r.run()
			for range 1000 {
				r.Maintain("", 0)
				r.EndMaintenance()
			}
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.readyz())
			assert.Equal(t, 1, calls)
			close(stuck)
			synctest.Wait()
			assert.Equal(t, 1001, calls, "the latest thousand")
			assert.Contains(t, r.all(), `level=WARN msg="probes: changes were not delivered" changes=1004`)
			r.end()
		})
	})
}
