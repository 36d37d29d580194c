// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/probes"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

func TestLifeOfAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, Registry: new(probes.Registry), ran: make(chan error, 1)}
		assert.Equal(t, okBody, r.live(), "the zero value answers")
		assert.Equal(t, starting, r.readyz())
		assert.Equal(t, starting, r.startup())

		require.NoError(t, r.AddLiveness("progress", func() error { return nil }))
		r.ready("db", pass)
		assert.Equal(t, okBody, r.live(), "not run yet")
		r.run()
		assert.Equal(t, starting, r.readyz(), "a check that passes is not enough")
		assert.Equal(t, starting, r.startup())

		r.Started()
		r.Started()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, okBody, r.readyz())
		assert.Equal(t, okBody, r.startup())

		r.Shutdown()
		r.Shutdown()
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.startup())

		assert.Zero(t, r.end())
		time.Sleep(forLong)
		assert.Equal(t, okBody, r.live(), "nobody renews it, and nobody is to restart the process for that")
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.startup())
	})
}

func TestStartedWithoutChecksIsReady(t *testing.T) {
	var r probes.Registry
	r.Started()
	assert.Equal(t, okBody, get(r.ReadyHandler()))
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		assert.EqualError(t, r.Run(t.Context()), "probes: Run called twice")
		r.end()
		assert.Error(t, r.Run(t.Context()))
	})
}

// Ten thousand probes while the answer changes all the time: each is given one of
// the two that there are.
func TestManyProbesWhileTheAnswerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		calls := 0
		require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: noJitter, Func: func(context.Context) error {
			time.Sleep(time.Millisecond)
			if calls++; calls%2 == 0 {
				return errDown
			}
			return nil
		}}))
		r.run()
		time.Sleep(time.Millisecond + 1)
		var wg sync.WaitGroup
		var red atomic.Int32
		for range 100 {
			wg.Go(func() {
				for range 100 {
					switch got := get(r.ReadyHandler()); got {
					case okBody:
					case "503 not ready: db\n":
						red.Add(1)
					default:
						t.Error(got)
					}
					time.Sleep(time.Millisecond / 3)
				}
			})
		}
		wg.Wait()
		assert.InDelta(t, 5000, red.Load(), 1000)
		r.end()
	})
}

// What waits is given what holds; nobody keeps Shutdown from being called.
func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.OnChange = func(probes.Change) {}
		r.run()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				name := fmt.Sprintf("check-%02d", i)
				assert.NoError(t, r.AddReadiness(
					probes.Check{Name: name, Func: fail, TTL: time.Duration(i % 2)},
					probes.Check{Name: name + "/b", Func: pass, DependsOn: []string{name}, Optional: i%3 == 0},
				))
				h, err := r.AddHeartbeat(name, time.Second)
				assert.NoError(t, err)
				for range 10 {
					h.Beat()
					r.Maintain(name, time.Millisecond)
					request(r.ReadyHandler(), http.MethodGet, "/readyz?verbose&exclude="+name)
					request(r.LiveHandler(), http.MethodGet, "/livez?format=json&verbose")
					r.EndMaintenance()
					r.Started()
					time.Sleep(time.Millisecond)
				}
				h.Stop()
				if i == 25 {
					r.Shutdown()
				}
			})
		}
		wg.Wait()
		assert.Equal(t, shutdown, r.readyz())
		assert.Equal(t, okBody, r.live())
		r.end()
	})
}
