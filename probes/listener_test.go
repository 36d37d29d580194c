// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"net/http"
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
