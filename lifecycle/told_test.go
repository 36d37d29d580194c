// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

// onceStarted has f called when the process has started.
func onceStarted(a *lifecycle.App, f func()) {
	a.Observers = append(a.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			f()
		}
	})
}

// What serves says that it was closed when Stop closes it, as the actors of oklog/run do.
func TestRunThatIsClosedByItsStopIsNoError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Addr: "127.0.0.1:0"}
	a, log := app(
		lifecycle.Component{Name: "loop", Run: func(context.Context) error {
			for {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				c.Close()
			}
		}, Stop: func(context.Context) error { return l.Close() }},
		lifecycle.Component{Name: "server", Run: func(context.Context) error { return srv.ListenAndServe() }, Stop: srv.Shutdown},
	)
	onceStarted(a, func() { go a.Shutdown("enough") })
	assert.NoError(t, a.Run(t.Context()), log)
}

// The same is an error if nothing has told it, and so is another one.
func TestRunThatFailsAtItsStopIsAnError(t *testing.T) {
	lost := errors.New("lost the cursor")
	a, _ := app(
		lifecycle.Component{Name: "loop", Run: func(context.Context) error { return net.ErrClosed }},
		lifecycle.Component{Name: "cursor", Run: func(ctx context.Context) error { <-ctx.Done(); return lost }},
	)
	err := a.Run(t.Context())
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, err, lost)
}

// A signal handler of the program's own that has stayed is not the App's.
func TestServerThatIsEndedByAnother(t *testing.T) {
	for name, end := range map[string]func(*http.Server){
		"Shutdown":       func(s *http.Server) { s.Shutdown(context.Background()) },
		"Close":          func(s *http.Server) { s.Close() },
		"Close, earlier": nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv := &http.Server{Addr: "127.0.0.1:0"}
			a, _ := app(lifecycle.HTTP("web", srv))
			if end == nil {
				srv.Close()
			} else {
				onceStarted(a, func() { go end(srv) })
			}
			err := a.Run(t.Context())
			assert.ErrorContains(t, err, "run web: its server was ended by a Shutdown or Close that is not the App's")
			assert.Equal(t, 1, lifecycle.ExitCode(err))
		})
	}
}

// A registry has one life.
func TestRegistryOfAnEarlierApp(t *testing.T) {
	registry := new(probes.Registry)
	for i := range 2 {
		a, _ := app()
		a.Probes = registry
		onceStarted(a, func() {
			if i == 0 {
				a.Shutdown("enough")
			}
		})
		err := a.Run(t.Context())
		if i == 0 {
			require.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, "the registry belongs to another App, or to an earlier one")
	}
}

// What cannot be served is found by Plan, and by Run before anything has started.
func TestProbesThatCannotBeMounted(t *testing.T) {
	for want, change := range map[string]func(*lifecycle.App){
		`the path "ready" of the readiness probe`:                  func(a *lifecycle.App) { a.Probes.ReadyPath = "ready" },
		`have one path, "/readyz"`:                                 func(a *lifecycle.App) { a.Probes.LivePath = "/readyz" },
		`the path "/{x}" of the readiness probe: it is no pattern`: func(a *lifecycle.App) { a.Probes.ReadyPath = "/{x}" },
		`the path "/a b" of the readiness probe`:                   func(a *lifecycle.App) { a.Probes.ReadyPath = "/a b" },
		`conflicts with pattern "/prestop"`: func(a *lifecycle.App) {
			a.Probes.ReadyPath, a.PreStopToken = "/prestop", "secret"
		},
		`ProbeAddr ":" has no port`:         func(a *lifecycle.App) { a.ProbeAddr = ":" },
		`the Admin handler needs ProbeAddr`: func(a *lifecycle.App) { a.ProbeAddr, a.Admin = "", http.NotFoundHandler() },
		`component 0: the name "a\nb" of its check`: func(a *lifecycle.App) {
			a.Components = []lifecycle.Component{{Name: "a\nb", Ready: func(context.Context) error { return nil }}}
		},
		`component "web": its address ":" has no port`: func(a *lifecycle.App) {
			a.Components = []lifecycle.Component{lifecycle.HTTP("web", &http.Server{Addr: ":"})}
		},
	} {
		t.Run(want, func(t *testing.T) {
			a, _ := app(lifecycle.Component{Name: "db", Start: func(context.Context) error { t.Error("it is started"); return nil }})
			a.ProbeAddr, a.Probes = "127.0.0.1:0", new(probes.Registry)
			change(a)
			_, planned := a.Plan()
			for _, err := range []error{planned, a.Run(t.Context())} {
				assert.ErrorIs(t, err, lifecycle.ErrConfig)
				assert.ErrorContains(t, err, want)
			}
		})
	}
}
