// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var stuck atomic.Bool
		require.NoError(t, r.AddLiveness("progress", func() error {
			if stuck.Load() {
				return errDown
			}
			return nil
		}))
		release := make(chan struct{})
		require.NoError(t, r.AddLiveness("lock", func() error { <-release; return nil }))
		r.run()
		time.Sleep(probes.DefaultTimeout - 1)
		assert.Equal(t, okBody, r.live())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not live: lock\n", get(r.LiveHandler()))
		assert.Equal(t, okBody, r.readyz(), "the kinds do not mix")
		stuck.Store(true)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "503 not live: lock, progress\n", r.live())
		stuck.Store(false)
		close(release)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.live())
		r.Shutdown()
		stuck.Store(true)
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, "503 not live: progress\n", r.live(), "liveness goes on")
		r.end()
		assert.Equal(t, "503 not live: progress\n", r.live())
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		h, err := r.AddHeartbeat("worker", 30*time.Second)
		require.NoError(t, err)
		time.Sleep(30*time.Second - 1)
		assert.Equal(t, okBody, r.live(), "the first beat counts as given")
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "503 not live: worker\n", r.live(), "Run need not run")
		h.Beat()
		assert.Equal(t, okBody, r.live())

		r.run()
		for range 100 {
			time.Sleep(29 * time.Second)
			assert.Equal(t, okBody, r.live())
			h.Beat()
		}
		assert.Empty(t, r.log())
		time.Sleep(30 * time.Second)
		assert.Equal(t, "503 not live: worker\n", get(r.LiveHandler()))
		assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=worker probe=liveness took=30s error=\"no beat for 30s\"\n", r.log())
		assert.Equal(t, okBody, r.readyz(), "it is not about readiness")
		time.Sleep(forLong)
		assert.Equal(t, "503 not live: worker\n", r.live())
		h.Beat()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, "level=INFO msg=\"probes: check has recovered\" check=worker probe=liveness took=0s\n", r.log())

		h.Stop()
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live(), "it has come to its end")
		r.end()
	})

	t.Run("from Shutdown on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			_, err := r.AddHeartbeat("worker", time.Second)
			require.NoError(t, err)
			r.run()
			r.Shutdown()
			_, err = r.AddHeartbeat("late", time.Second)
			require.NoError(t, err)
			time.Sleep(forLong)
			assert.Equal(t, okBody, r.live(), "loops end")
			r.end()
		})
	})

	t.Run("when Run is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			_, err := r.AddHeartbeat("worker", time.Second)
			require.NoError(t, err)
			late, err := r.AddHeartbeat("late", time.Second/2)
			require.NoError(t, err)
			r.run()
			time.Sleep(time.Second / 2)
			r.end()
			time.Sleep(forLong)
			assert.Equal(t, "503 not live: late\n", r.live(), "what it was")
			late.Beat()
			assert.Equal(t, okBody, r.live())
		})
	})

	t.Run("many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.run()
			var wg sync.WaitGroup
			for i := range 100 {
				h, err := r.AddHeartbeat(fmt.Sprintf("worker-%02d", i), time.Second)
				require.NoError(t, err)
				wg.Go(func() {
					for range 100 {
						time.Sleep(time.Second * 3 / 4)
						h.Beat()
						assert.Equal(t, okBody, get(r.LiveHandler()))
					}
					if i != 42 {
						h.Stop()
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
			assert.Equal(t, "503 not live: worker-42\n", r.live())
			r.end()
		})
	})

	t.Run("errors", func(t *testing.T) {
		var r probes.Registry
		_, err := r.AddHeartbeat("worker", time.Second)
		require.NoError(t, err)
		for want, add := range map[string]struct {
			name string
			age  time.Duration
		}{
			"a heartbeat has no name":                                            {"", time.Second},
			`heartbeat "x" has the maximum age 0s`:                               {"x", 0},
			`there is a liveness check "worker" already`:                         {"worker", time.Second},
			`heartbeat "a\tb" has characters in its name that cannot be printed`: {"a\tb", time.Second},
		} {
			h, err := r.AddHeartbeat(add.name, add.age)
			assert.Nil(t, h)
			assert.ErrorIs(t, err, probes.ErrInvalid)
			assert.EqualError(t, err, "probes: invalid check: "+want)
		}
	})
}

// A chanLocker blocks durably, as a sync.Mutex in a bubble does not.
type chanLocker chan struct{}

func (l chanLocker) Lock()   { l <- struct{}{} }
func (l chanLocker) Unlock() { <-l }

func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		mu := make(chanLocker, 1)
		require.NoError(t, r.AddLock("orders", mu, 10*time.Second))
		r.run()
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live())
		mu.Lock() // and no more
		time.Sleep(probes.DefaultInterval + 10*time.Second)
		assert.Equal(t, "503 not live: orders\n", r.live())
		time.Sleep(forLong)
		assert.Equal(t, 1, goroutines())
		mu.Unlock()
		time.Sleep(probes.DefaultInterval)
		assert.Equal(t, okBody, r.live())
		r.end()
	})
	var r probes.Registry
	assert.EqualError(t, r.AddLock("x", nil, 0), `probes: invalid check: liveness check "x" has no function`)
	assert.NoError(t, r.AddLock("mutex", new(sync.Mutex), 0))
}

// What asks a dependency takes a context, and does not fit any of the ways into
// liveness: the compiler refuses it.
func TestLivenessRefusesDependencies(t *testing.T) {
	registry := reflect.TypeFor[*probes.Registry]()
	ask := reflect.TypeFor[func(context.Context) error]()
	for m := range registry.Methods() {
		for p := range m.Type.Ins() {
			if p == reflect.TypeFor[probes.Check]() || p == reflect.TypeFor[[]probes.Check]() {
				assert.Equal(t, "AddReadiness", m.Name)
			}
			assert.False(t, ask.AssignableTo(p), m.Name)
		}
	}
}
