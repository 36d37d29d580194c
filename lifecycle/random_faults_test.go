// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// An ordeal is an App of which any function may come to its end in any way.
type ordeal struct {
	app    *lifecycle.App
	random *rand.Rand
	names  []string
	deps   map[string][]string

	mu   sync.Mutex
	tick int
	at   map[string]int // when "db start" came, "db start over" and, if it has returned nil, "db start done"
	more []string       // what came twice
}

func (o *ordeal) note(name, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tick++
	key := name + " " + what
	if o.at[key] != 0 {
		o.more = append(o.more, key)
	}
	o.at[key] = o.tick
}

func newOrdeal(random *rand.Rand, n int) *ordeal {
	o := &ordeal{random: random, deps: make(map[string][]string), at: make(map[string]int)}
	o.app = &lifecycle.App{Logger: slog.New(slog.DiscardHandler), Flush: o.function("flush", "stop", 5)}
	for i := range n {
		c := lifecycle.Component{Name: fmt.Sprint("c", i)}
		for range min(random.IntN(4), i) {
			c.DependsOn = append(c.DependsOn, o.names[random.IntN(i)])
		}
		c.Start = o.function(c.Name, "start", 2*n)
		c.Stop = o.function(c.Name, "stop", 5)
		switch random.IntN(4) {
		case 0:
			c.Run = o.function(c.Name, "run", 2*n)
		case 1:
			c.Run = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			c.Drain = o.function(c.Name, "drain", 5)
		case 2:
			c.Stop = nil
		}
		o.names, o.deps[c.Name] = append(o.names, c.Name), c.DependsOn
		o.app.Components = append(o.app.Components, c)
	}
	random.Shuffle(n, func(i, j int) {
		o.app.Components[i], o.app.Components[j] = o.app.Components[j], o.app.Components[i]
	})
	return o
}

// function returns one that does something odd once in so many times.
func (o *ordeal) function(name, what string, odd int) func(context.Context) error {
	kind, takes := -1, time.Duration(max(o.random.IntN(6)-3, 0))*time.Second
	if o.random.IntN(odd) == 0 {
		kind = o.random.IntN(9)
	}
	return func(ctx context.Context) error {
		o.note(name, what)
		defer o.note(name, what+" over")
		time.Sleep(takes)
		switch kind {
		case 0:
			return errors.New("broken")
		case 1:
			panic([]int{0}) // which cannot be compared
		case 2:
			runtime.Goexit()
		case 3:
			defer panic("odd")
			runtime.Goexit()
		case 4:
			<-ctx.Done()
			return ctx.Err()
		case 5:
			<-ctx.Done()
			time.Sleep(50 * time.Millisecond) // until the very deadline
		case 6:
			time.Sleep(24 * time.Hour)
		case 7:
			time.Sleep(24 * time.Hour)
			runtime.Goexit()
		case 8:
			o.app.Shutdown(name)
		}
		if what == "run" {
			<-ctx.Done()
		}
		o.note(name, what+" done")
		return nil
	}
}

// TestRandomFaults: whatever they do, components start after what they depend on has,
// are stopped once and if they have started, before what they depend on unless they were
// left behind, and the process is gone before the grace period. The seed is in the name
// of the test.
func TestRandomFaults(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				o := newOrdeal(random, 1+random.IntN(30))
				err := runFor(t, o.app, time.Duration(random.IntN(60))*time.Second)
				o.check(t, err)
				time.Sleep(48 * time.Hour) // until all that hangs is over
				o.check(t, err)
			})
		})
	}
}

func (o *ordeal) check(t *testing.T, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Empty(t, o.more)
	r := o.app.Report()
	require.Less(t, r.Took, r.Plan.GracePeriod)
	require.Equal(t, lifecycle.ExitCode(err), r.ExitStatus)
	for _, c := range r.Components {
		require.NotEmpty(t, c.Fate, c.Name)
		if c.Fate == "failed" || c.Fate == "left behind" {
			require.ErrorContains(t, err, " "+c.Name+": ")
		}
		for _, d := range o.deps[c.Name] {
			if at := o.at[c.Name+" start"]; at != 0 {
				require.NotZero(t, o.at[d+" start done"], "%s depends on %s", c.Name, d)
				require.Less(t, o.at[d+" start done"], at, "%s depends on %s", c.Name, d)
			}
			if below := o.at[d+" stop"]; below != 0 && c.Fate != "left behind" {
				for _, what := range []string{"start", "run", "drain", "stop"} {
					require.Equal(t, o.at[c.Name+" "+what] != 0, o.at[c.Name+" "+what+" over"] != 0, "%s of %s", what, c.Name)
					require.Less(t, o.at[c.Name+" "+what+" over"], below, "%s depends on %s", c.Name, d)
				}
			}
		}
	}
	for _, c := range o.app.Components {
		started := o.at[c.Name+" start done"] != 0 && !strings.Contains(fmt.Sprint(err), "start "+c.Name+": ")
		if c.Stop != nil {
			require.Equal(t, started, o.at[c.Name+" stop"] != 0, c.Name)
		}
	}
}
