// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// TestKeptConnectionsAreNoTraffic: their clients know of this server already, and say
// nothing of whether others still learn of it. What one goes on asking on a connection
// that it keeps does not put off the end of the accept window.
func TestKeptConnectionsAreNoTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "keep-alive") // or the first answer would end it
			ok(w, r)
		})
		c := r.dial()
		c.get("/")
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			for range 20 {
				time.Sleep(200 * time.Millisecond)
				c.get("/")
			}
			c.Close()
		}()
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		<-asked
		assert.Equal(t, drain.DefaultQuiet, report.Accept.Took)
		assert.True(t, report.Quiet)
		assert.Equal(t, 4*time.Second, took)
		assert.EqualValues(t, 20, report.Total().Requests)
		assert.Zero(t, report.Total().Connections)
	})
}
