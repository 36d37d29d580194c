// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// Handlers that react to the cut at once have been cut all the same. Route is called
// while they are being named, and gives them the time to react that they would need to
// be missed.
func TestHandlersThatReactToTheCutAtOnceAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		r := start(t, &drain.Server{Floor: time.Hour, Route: func(*http.Request) string {
			synctest.Wait()
			return ""
		}}, handler)
		for _, path := range []string{"/a", "/b", "/c"} {
			c := r.dial()
			c.discard()
			c.send(path)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		report, err := r.srv.Drain(ctx)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{
			"GET /a (running for more than 1s)",
			"GET /b (running for more than 1s)",
			"GET /c (running for more than 1s)",
		}, report.Cut)
		<-r.served
	})
}
