// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// TestEveryInstantIsALineAndAnEvent: of an App that has something to do at each of them,
// with a server and a worker, the log has the same instants as an observer is told.
func TestEveryInstantIsALineAndAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nothing := func(context.Context) error { return nil }
		web := lifecycle.HTTP("web", new(http.Server), "worker")
		web.Listen = func(context.Context) (net.Listener, error) { return memnet.Listen(), nil }
		a, log := app(web, lifecycle.Component{Name: "worker", Drain: nothing})
		a.Floor, a.Flush = time.Second, nothing
		var told []string
		a.Observers = append(a.Observers, func(e lifecycle.Event) {
			if e.Component == "" || e.Instant == "AcceptWindowClosed" || e.Instant == "Drained" {
				told = append(told, e.Instant+" "+e.Component)
			}
		})
		require.NoError(t, runFor(t, a, time.Minute))
		var said []string
		for _, m := range regexp.MustCompile(`instant=(\w+)(?: component=(\w+))?`).FindAllStringSubmatch(log.String(), -1) {
			said = append(said, m[1]+" "+m[2])
		}
		want := []string{"Started ", "ShutdownInitiated ", "AcceptWindowClosed web", "Drained web", "Drained worker",
			"ComponentsStopped ", "Flushed ", "Exited "}
		assert.Equal(t, want, said)
		assert.Equal(t, append([]string{"Starting "}, want...), told)
		assert.Regexp(t, `^\S+ level=INFO msg=starting `, log.String())
	})
}
