// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/internal/stall"
)

// http2Modes are the ways to leave that are told apart by streams: a close of
// keep-alives does not reach a busy connection (golang/go#26303).
var http2Modes = []string{modeDrain, modeShutdown, modeSleep, modeCloseHeader}

// http2Loads are clients with so many streams side by side on a connection. Their
// bodies cannot be sent again.
func http2Loads(proto string) []lossLoad {
	var loads []lossLoad
	for _, c := range []struct{ streams, clients int }{{1, 30}, {4, 30}, {100, 3}} {
		if c.streams == 4 && raced() && os.Getenv(terminationsEnv) == "" {
			continue // between the two others, and a third of the time
		}
		loads = append(loads, lossLoad{draintest.Kind{
			Name:      fmt.Sprintf("%s, %d × %d streams", proto, c.clients, c.streams),
			Proto:     proto,
			Streams:   c.streams,
			Streaming: true,
			MaxThink:  40 * time.Millisecond,
			Clients:   c.clients,
		}, 3, 2 * time.Second})
	}
	return loads
}

// TestLossesHTTP2 is TestLosses for HTTP/2, with TLS and without.
func TestLossesHTTP2(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const propagation = 1500 * time.Millisecond
	n := fewTerminations
	if s := os.Getenv(terminationsEnv); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err, terminationsEnv)
		require.Positive(t, n, terminationsEnv)
	}
	for _, proto := range []string{"h2c", "h2"} {
		for _, load := range http2Loads(proto) {
			if raced() {
				load.kind.Name += ", a third of them"
				load.kind.Clients /= 3
			}
			t.Run(load.kind.Name, func(t *testing.T) {
				stop := stall.Watch()
				cells := newCells(load, http2Modes, propagation)
				terminate(t, load, cells, n, load.beside)
				checkLosses(t, cells, stop())
			})
		}
	}
}
