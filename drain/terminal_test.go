// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// TestNobodyAtATerminalWaitsForHandshakes: without a floor, and without traffic, there is
// no balancer whose handshakes could be under way when the listener is closed. The
// fastest of many counts, since any machine may be slow.
func TestNobodyAtATerminalWaitsForHandshakes(t *testing.T) {
	const handshakes, tries = 100 * time.Millisecond, 50
	fastest := time.Hour
	for i := 0; i < tries && fastest >= handshakes; i++ {
		l, err := drain.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		serving := make(chan struct{})
		srv := &drain.Server{Floor: -1, HTTP: &http.Server{BaseContext: func(net.Listener) context.Context {
			close(serving)
			return context.Background()
		}}}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		<-serving
		report, err := srv.Drain(t.Context())
		require.NoError(t, err)
		require.Equal(t, http.ErrServerClosed, <-served)
		fastest = min(fastest, report.Close.Took)
	}
	assert.Less(t, fastest, handshakes)
}
