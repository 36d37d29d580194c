// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A life is what one component of a random graph has gone through. Each of its
// instants is the tick at which it came, or 0.
type life struct {
	starting, started, stopping, stopped atomic.Int64

	fails bool // its start does
	hangs bool // its stop does, for an hour
}

// A forest is a random graph of components that keep the book of their lives.
type forest struct {
	random *rand.Rand
	tick   atomic.Int64
	lives  []*life
	deps   [][]int
}

// newForest returns n components, each of which depends on up to four that come
// before it, and an App that has them in random order.
func newForest(random *rand.Rand, n int) (*forest, *lifecycle.App) {
	f := &forest{random: random}
	a := &lifecycle.App{Logger: slog.New(slog.DiscardHandler), GracePeriod: 24 * time.Hour}
	for i := range n {
		f.lives = append(f.lives, new(life))
		f.deps = append(f.deps, nil)
		for range min(random.IntN(5), i) {
			f.deps[i] = append(f.deps[i], random.IntN(i))
		}
		a.Components = append(a.Components, f.component(i))
	}
	random.Shuffle(n, func(i, j int) {
		a.Components[i], a.Components[j] = a.Components[j], a.Components[i]
	})
	return f, a
}

func (f *forest) component(i int) lifecycle.Component {
	l := f.lives[i]
	startTakes, stopTakes := f.delay(), f.delay()
	stopErr := error(nil)
	if f.random.IntN(20) == 0 {
		stopErr = errors.New("broken")
	}
	c := lifecycle.Component{
		Name: fmt.Sprint(i),
		Start: func(context.Context) error {
			l.starting.Store(f.tick.Add(1))
			time.Sleep(startTakes)
			if l.fails {
				return errors.New("broken")
			}
			l.started.Store(f.tick.Add(1))
			return nil
		},
		Stop: func(context.Context) error {
			l.stopping.Store(f.tick.Add(1))
			time.Sleep(stopTakes)
			if l.hangs {
				time.Sleep(24 * time.Hour)
			}
			l.stopped.Store(f.tick.Add(1))
			return stopErr
		},
	}
	for _, d := range f.deps[i] {
		c.DependsOn = append(c.DependsOn, fmt.Sprint(d))
	}
	return c
}

// delay is often none, so that many things happen at the same time.
func (f *forest) delay() time.Duration {
	return time.Duration(max(f.random.IntN(8)-3, 0)) * time.Second
}

// check asserts the order: nobody starts before what it depends on has started, or
// stops after what it depends on has begun to; and what has started is stopped.
func (f *forest) check(t *testing.T) (started int) {
	for i, l := range f.lives {
		if l.started.Load() != 0 {
			started++
			require.NotZero(t, l.stopping.Load(), "%d is stopped", i)
		} else {
			require.Zero(t, l.stopping.Load(), "%d has not started and is not stopped", i)
		}
		for _, d := range f.deps[i] {
			dep := f.lives[d]
			if l.starting.Load() != 0 {
				require.NotZero(t, dep.started.Load(), "%d on which %d depends", d, i)
				require.Less(t, dep.started.Load(), l.starting.Load(), "%d depends on %d", i, d)
			}
			if l.started.Load() != 0 && !l.hangs {
				require.Less(t, l.stopped.Load(), dep.stopping.Load(), "%d depends on %d", i, d)
			}
		}
	}
	return started
}

// TestRandomGraphs: the order holds in graphs of a thousand components with random
// delays and failures; the seed is in the name of the test.
func TestRandomGraphs(t *testing.T) {
	const n = 1000
	for _, tt := range []struct {
		name  string
		place func(f *forest, a *lifecycle.App) (signal time.Duration)
		check func(t *testing.T, f *forest, started int, err error)
	}{
		{"a signal when all have started", func(*forest, *lifecycle.App) time.Duration { return time.Hour },
			func(t *testing.T, f *forest, started int, err error) { assert.Equal(t, n, started) }},
		{"a signal during the start", func(*forest, *lifecycle.App) time.Duration { return 12 * time.Second },
			func(t *testing.T, f *forest, started int, err error) {
				assert.NotZero(t, started)
				assert.Less(t, started, n)
				assert.NotErrorIs(t, err, lifecycle.ErrStart)
			}},
		{"a start that fails", func(f *forest, _ *lifecycle.App) time.Duration {
			f.lives[n/2+f.random.IntN(n/2)].fails = true
			return time.Hour
		}, func(t *testing.T, f *forest, started int, err error) {
			assert.Less(t, started, n)
			assert.ErrorIs(t, err, lifecycle.ErrStart)
		}},
		{"stops that hang", func(f *forest, _ *lifecycle.App) time.Duration {
			for range 20 {
				f.lives[f.random.IntN(n)].hangs = true
			}
			return time.Hour
		}, func(t *testing.T, f *forest, started int, err error) {
			assert.Equal(t, n, started)
			assert.ErrorIs(t, err, lifecycle.ErrDeadline)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 3 {
				seed := rand.Uint64()
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						f, a := newForest(rand.New(rand.NewPCG(seed, 0)), n)
						signal := tt.place(f, a)
						err := runFor(t, a, signal)
						tt.check(t, f, f.check(t), err)
						for _, c := range a.Report().Components {
							require.NotEmpty(t, c.Fate, c.Name)
						}
						time.Sleep(48 * time.Hour) // until all that hangs is over
					})
				})
			}
		})
	}
}

// TestRandomCycles: a cycle is found wherever it is, and its path is one.
func TestRandomCycles(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		_, a := newForest(random, 1000)
		byName := make(map[string]*lifecycle.Component)
		for i := range a.Components {
			byName[a.Components[i].Name] = &a.Components[i]
		}
		// A chain of dependencies, and its end depends on its beginning.
		first := byName[fmt.Sprint(500+random.IntN(500))]
		last := first
		for range 1 + random.IntN(5) {
			if len(last.DependsOn) > 0 {
				last = byName[last.DependsOn[0]]
			}
		}
		last.DependsOn = append(last.DependsOn, first.Name)
		_, err := a.Plan()
		require.ErrorIs(t, err, lifecycle.ErrConfig, "seed %d", seed)
		assert.ErrorContains(t, err, "dependency cycle: ", "seed %d", seed)
	}
}
