// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// events notes what an App tells its observers.
func events(a *lifecycle.App) (seen func() []lifecycle.Event) {
	var mu sync.Mutex
	var all []lifecycle.Event
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, e)
	})
	return func() []lifecycle.Event {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// assertProbesFailed asserts that everybody is told of the probe listener's error.
func assertProbesFailed(t *testing.T, a *lifecycle.App, err error, seen []lifecycle.Event, op string, code int) {
	t.Helper()
	require.Error(t, err)
	var e *lifecycle.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, []string{"probes", op}, []string{e.Component, e.Op})
	assert.Equal(t, code, lifecycle.ExitCode(err))
	require.NotNil(t, a.Report())
	assert.Equal(t, []string{err.Error()}, a.Report().Errors)
	assert.Equal(t, code, a.Report().ExitStatus)
	assert.Contains(t, a.Report().Reason, "probes: ")
	failed := 0
	for _, e := range seen {
		if e.Instant == "ComponentFailed" {
			failed++
			assert.Equal(t, "probes", e.Component)
			assert.EqualError(t, e.Err, err.Error())
		}
	}
	assert.Equal(t, 1, failed)
	last := seen[len(seen)-1]
	assert.Equal(t, "Exited", last.Instant)
	assert.Equal(t, err, last.Err)
	assert.Equal(t, a.Report(), last.Report)
}

func TestProbeListenerThatCannotBeOpenedIsReported(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	started := false
	a, _ := app(lifecycle.Component{Name: "db", Start: func(context.Context) error { started = true; return nil }})
	a.ProbeAddr = taken.Addr().String()
	seen := events(a)
	err = a.Run(t.Context())
	assertProbesFailed(t, a, err, seen(), "start", 3)
	assert.ErrorIs(t, err, lifecycle.ErrStart)
	assert.False(t, started)
	assert.Equal(t, "not started", a.Report().Components[0].Fate)
}

// TestProbeListenerThatBreaksBeginsTheShutdown: a process that does not answer its
// probes is about to be killed.
func TestProbeListenerThatBreaksBeginsTheShutdown(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	a, log := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr = freeAddr(t)
	a.Admin = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.Context().Value(http.ServerContextKey).(*http.Server).Close()
	})
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			http.Get("http://" + a.ProbeAddr + "/close")
		}
	})
	seen := events(a)
	err := a.Run(t.Context())
	assertProbesFailed(t, a, err, seen(), "run", 1)
	assert.Contains(t, log.String(), "probe listener failed")
	assert.Equal(t, "stopped", a.Report().Components[0].Fate)
}

// TestSignalWhileTheProbeListenerAsksForItsAddress: a name server that does not answer
// keeps nobody from leaving.
func TestSignalWhileTheProbeListenerAsksForItsAddress(t *testing.T) {
	asked := make(chan struct{})
	var once sync.Once
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		once.Do(func() { close(asked) })
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	a, log := app(lifecycle.Component{Name: "db"})
	a.ProbeAddr = "probes.invalid:0"
	go func() {
		<-asked
		a.Shutdown("enough")
	}()
	require.NoError(t, a.Run(t.Context()))
	assert.Equal(t, "enough", a.Report().Reason)
	assert.Equal(t, "not started", a.Report().Components[0].Fate)
	assert.Contains(t, log.String(), `msg="start interrupted" component=probes`)
}
