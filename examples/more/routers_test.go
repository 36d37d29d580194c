// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// roll terminates a program under clients that never retry, and learn of it within 0.8 s
// of a floor of 1 s. Nothing may be lost.
func roll(t *testing.T, name, path string, env ...string) (answered int) {
	t.Helper()
	const low, high = 20 * time.Millisecond, 200 * time.Millisecond
	report, err := draintest.Roll(t.Context(), draintest.Config{
		Command:      []string{filepath.Join(bin, name)},
		Env:          append(env, "PRE_STOP_DELAY=1s", "GRACE_PERIOD=20s"),
		Path:         path,
		Terminations: 2,
		Propagation:  800 * time.Millisecond,
		Settle:       300 * time.Millisecond,
		Kinds: []draintest.Kind{
			{Name: "keeps its connection", MinThink: low, MaxThink: high, Clients: 8},
			{Name: "new connection", NewConn: true, MinThink: low, MaxThink: high, Clients: 4},
		},
	})
	require.NoError(t, err)
	t.Logf("%s:\n%v", name, report)
	assert.Zero(t, report.Lost(), "%v", report)
	for _, k := range report.Kinds {
		assert.NotZero(t, k.OK, k.Kind)
		answered += k.OK
	}
	return answered
}

func TestRoutersRoll(t *testing.T) {
	for _, name := range []string{"gin", "echo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roll(t, name, "/work")
		})
	}
}

// TestProbesOnTheRouter: gin and echo have patterns of their own for the sub-paths.
func TestProbesOnTheRouter(t *testing.T) {
	for _, name := range []string{"gin", "echo"} {
		t.Run(name, func(t *testing.T) {
			p := start(t, name, "PROBE_PORT=PORT")
			for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/readyz/": 200, "/startupz": 200, "/readyz/nothing": 404, "/nothing": 404} {
				assert.Equal(t, want, p.Get(p.Addr, path), path)
			}
			_, ours := get(t, "http://"+p.Addr+"/readyz/nothing")
			_, theirs := get(t, "http://"+p.Addr+"/nothing")
			assert.NotEqual(t, theirs, ours, "the sub-paths are the probes' own")
			code, _ := p.end()
			assert.Zero(t, code, p.Output())
		})
	}
}
