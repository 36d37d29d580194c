// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package more_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// TestStore: readiness names the server that is away and skips what depends on it, the
// program waits for both at the start, and each answered order is in both, once.
func TestStore(t *testing.T) {
	t.Parallel()
	cache, redisURL := startRedis(t)
	db, databaseURL := startPostgres(t)
	env := []string{"DATABASE_URL=" + databaseURL, "REDIS_URL=" + redisURL}

	t.Run("dependencies", func(t *testing.T) {
		p := start(t, "store", env...)
		awaitReadiness(t, p.Probe, 200, "ok\n")
		// Both ways at once, since each costs an interval of the checks.
		db.end()
		awaitReadiness(t, p.Probe, 503, "not ready: postgres; skipped: orders\n")
		cache.end()
		awaitReadiness(t, p.Probe, 503, "not ready: postgres, redis; skipped: orders\n")
		assert.Equal(t, http.StatusOK, p.Get(p.Probe, "/livez"), "no reason to restart this one")
		db.begin()
		awaitReadiness(t, p.Probe, 503, "not ready: redis; skipped: orders\n")
		cache.begin()
		awaitReadiness(t, p.Probe, 200, "ok\n")
		code, _ := p.end()
		assert.Zero(t, code, p.Output())
	})
	t.Run("rolls", func(t *testing.T) {
		answered := roll(t, "store", "/orders", env...)
		naiveLoses(t, "net/http", "/orders")
		late(t, "store", "/orders", env...)
		p := start(t, "store", env...)
		_, body := get(t, "http://"+p.Addr+"/orders")
		assert.Equal(t, fmt.Sprintln(answered, answered), body)
		code, _ := p.end()
		assert.Zero(t, code, p.Output())
	})
	t.Run("starts before its dependencies", func(t *testing.T) {
		cache.end()
		probe := proc.FreeAddr(t)
		p := launch(t, "store", append(env, "PORT=0", "PROBE_PORT="+proc.Port(probe))...)
		awaitReadiness(t, probe, 503, "not ready: starting, missing: redis\n")
		cache.begin()
		p.Await("instant=Started", patience)
		require.Equal(t, http.StatusOK, (&proc.Server{Process: p}).Get(probe, "/startupz"))
	})
}
