// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// A fakeGRPC notes what is asked of it. Its connections are none of its business.
type fakeGRPC struct {
	d    *diary
	hang chan struct{} // GracefulStop returns when it is closed; nil: at once
}

func (g *fakeGRPC) Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			g.d.note("Serve has returned")
			return err
		}
		g.d.note("accepted")
		c.Close()
	}
}

func (g *fakeGRPC) GracefulStop() {
	g.d.note("GracefulStop")
	if g.hang != nil {
		<-g.hang
	}
}

func (g *fakeGRPC) Stop() { g.d.note("Stop") }

// did returns what is in the diary, without the times.
func (d *diary) did() (all []string) {
	for _, line := range d.lines() {
		_, what, _ := strings.Cut(line, " ")
		all = append(all, what)
	}
	return all
}

// besides returns an App with a gRPC server beside one of HTTP, and what both use, and
// a channel that is closed when it has started.
func besides(t testing.TB, d *diary, g *fakeGRPC) (a *lifecycle.App, log interface{ String() string }, started <-chan struct{}) {
	t.Helper()
	up, watching := make(chan struct{}), make(chan struct{})
	watches := sync.OnceFunc(func() { close(watching) })
	registry := new(probes.Registry)
	a, log = app(
		lifecycle.Component{Name: "health", Run: func(ctx context.Context) error {
			ready := !registry.Status().Ready // the first word is said, too
			for status := range registry.Watch(ctx) {
				if status.Ready != ready {
					ready = status.Ready
					d.note("ready: %v", ready)
				}
				watches()
			}
			return nil
		}},
		lifecycle.Component{Name: "db", Stop: func(context.Context) error { d.note("db stopped"); return nil }},
		lifecycle.HTTP("http", &http.Server{Addr: freeAddr(t), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "ok")
		})}, "db"),
		lifecycle.Component{Name: "grpc", DependsOn: []string{"db"}, Server: &drain.Server{GRPC: g}, Addr: freeAddr(t)},
		lifecycle.Component{Name: "last", DependsOn: []string{"http", "grpc"}, Start: func(context.Context) error {
			<-watching
			close(up)
			return nil
		}},
	)
	a.Probes = registry
	return a, log, up
}

func TestGRPCBesideHTTP(t *testing.T) {
	d := newDiary()
	a, log, started := besides(t, d, &fakeGRPC{d: d})
	a.GracePeriod, a.Floor = 20*time.Second, 300*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-started
	require.Eventually(t, func() bool { return len(d.did()) == 2 }, time.Minute, time.Millisecond) // the first word, and ready
	cancel()
	require.Eventually(t, func() bool { return len(d.did()) == 3 }, time.Minute, time.Millisecond)
	for _, addr := range []string{a.Components[2].Server.HTTP.Addr, a.Components[3].Addr} {
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err, "both accept")
		nc.Close()
	}
	require.NoError(t, <-done)
	assert.Equal(t, []string{"ready: false", "ready: true", "ready: false", "accepted", "Serve has returned", "GracefulStop", "db stopped"}, d.did())
	inOrder(t, log.String(), "instant=ShutdownInitiated", "instant=AcceptWindowClosed", "instant=Drained", "instant=ComponentsStopped")
	for _, name := range []string{"http", "grpc"} {
		inOrder(t, log.String(), "instant=AcceptWindowClosed component="+name, "instant=Drained component="+name, "instant=ComponentsStopped")
	}
}

// inOrder checks that some texts come one after the other.
func inOrder(t *testing.T, s string, texts ...string) {
	t.Helper()
	rest := s
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		require.True(t, ok, "%q is missing, or too early, in %s", text, s)
		rest = after
	}
}

func TestGRPCThatHangsTakesNobodysTime(t *testing.T) {
	steadily(t, func(t *trial) {
		d := newDiary()
		g := &fakeGRPC{d: d, hang: make(chan struct{})}
		defer close(g.hang)
		a, log, started := besides(t, d, g)
		a.GracePeriod = 4 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		<-started
		t0 := t.clock.Now()
		cancel()
		err := <-done
		assert.Less(t, t.clock.Now()-t0, a.GracePeriod)
		require.ErrorIs(t, err, lifecycle.ErrDeadline)
		named, ok := errors.AsType[*lifecycle.Error](err)
		require.True(t, ok)
		assert.Equal(t, "grpc", named.Component)
		assert.ErrorContains(t, err, "GracefulStop, which has not returned")
		assert.Equal(t, []string{"Serve has returned", "GracefulStop", "Stop", "db stopped"}, d.did()[len(d.did())-4:])
		assert.Contains(t, log.String(), "instant=Drained component=http")
	})
}

func TestGRPCConfiguration(t *testing.T) {
	g := new(fakeGRPC)
	for _, tt := range []struct {
		name       string
		components []lifecycle.Component
		want       string
	}{
		{"both", []lifecycle.Component{{Name: "a", Addr: ":1", Server: &drain.Server{HTTP: new(http.Server), GRPC: g}}},
			`component "a": its server has both HTTP and GRPC; each takes a component of its own`},
		{"no address", []lifecycle.Component{{Name: "a", Server: &drain.Server{GRPC: g}}},
			`component "a": a gRPC server without Addr`},
		{"two addresses", []lifecycle.Component{{Name: "a", Addr: ":1", Server: &drain.Server{HTTP: &http.Server{Addr: ":2"}}}},
			`component "a": Addr is for GRPC; that of HTTP is its own`},
		{"the probes' address", []lifecycle.Component{{Name: "a", Addr: ":8081", Server: &drain.Server{GRPC: g}}},
			`component "a": its address :8081 is also that of the probe listener`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := app(tt.components...)
			a.ProbeAddr = ":8081"
			err := a.Run(t.Context())
			require.ErrorIs(t, err, lifecycle.ErrConfig)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	shared := &drain.Server{GRPC: g}
	a, _ := app(lifecycle.Component{Name: "a", Addr: ":1", Server: shared}, lifecycle.Component{Name: "b", Addr: ":2", Server: shared})
	assert.ErrorContains(t, a.Run(t.Context()), `components "a" and "b" have the same server`)
}
