// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A client that gives its answer no room has not been answered, though the handler has
// returned.
func TestHTTP2AnswerThatIsNotTakenIsNamedWhenItIsCut(t *testing.T) {
	bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
		r := start(&drain.Server{Spread: -1}, ok)
		c := dial(r).http2("")
		c.send(h2Settings, 0, 0, "\x00\x04\x00\x00\x00\x00") // SETTINGS_INITIAL_WINDOW_SIZE is 0
		c.get(1)
		synctest.Wait()
		assert.Equal(t, drain.Stats{Open: 1, Active: 1}, r.srv.Stats())
		report, took, err := r.drain(8 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.ErrorContains(t, err, "rest of an answer to ")
		assert.Equal(t, 8*time.Second*19/20, took)
		assert.Len(t, report.Cut, 1)
		assert.False(t, c.answered(1))
		<-c.end
		r.nothingOpen()
	})
}

// A client that is in the middle of a request's header cannot confirm anything, for no
// PING may be in there. It has about the time that one of HTTP/1.1 has.
func TestHTTP2HalfARequestIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		pause    time.Duration
		answered bool
	}{
		{5 * time.Second, true},
		{30 * time.Second, false},
	} {
		bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
			r := start(&drain.Server{Spread: -1}, ok)
			c := dial(r).http2("")
			c.get(1)
			synctest.Wait()
			c.mute = true
			c.send(h2Headers, h2EndStream, 3, getRoot[:2])
			rest := time.AfterFunc(tt.pause, func() {
				c.send(h2Continuation, h2EndHeaders, 3, getRoot[2:])
				synctest.Wait()
				c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
			})
			defer rest.Stop()
			_, took, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.Equal(t, tt.answered, c.answered(3))
			assert.Less(t, took, 8*time.Second)
			<-c.end
			r.nothingOpen()
		})
	}
}

// A client that has been told all there is, and goes on sending, is not waited for for
// ever. It takes real sockets, since pipes have no halves to close.
func TestHTTP2ClientThatIgnoresTheEndHoldsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes fifteen seconds")
	}
	t.Parallel()
	s, c := onLoopback(t)
	c.get(1)
	require.Eventually(t, func() bool { return c.answered(1) }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for ctx.Err() == nil {
			c.send(h2Ping, 0, 0, "stillon!")
			time.Sleep(100 * time.Millisecond)
		}
	}()
	_, err := s.Drain(context.Background()) // without a deadline
	assert.NoError(t, err)
	cancel()
	<-sending
}

// The rest of a large answer that is on its way at the cut is named.
func TestHTTP2SlowDownloadIsNamedWhenItIsCut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes fifteen seconds")
	}
	t.Parallel()
	d := slowDownload{slow: fromServer, size: 4<<20 - 64<<10, rate: 250 << 10}
	got, _ := d.run(t, func(_ context.Context, s *drain.Server) {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		report, err := s.Drain(ctx)
		assert.ErrorIs(t, err, drain.ErrCut)
		if assert.Len(t, report.Cut, 1) {
			assert.True(t, strings.HasPrefix(report.Cut[0], "rest of an answer to "), report.Cut[0])
		}
	})
	assert.Less(t, got, d.size)
}

// onLoopback returns a server of h2c on a real socket, and a client of it that speaks
// frame by frame.
func onLoopback(t *testing.T) (*drain.Server, *h2Client) {
	t.Helper()
	s := &drain.Server{Spread: -1, HTTP: &http.Server{Protocols: protocols("h2c"), Handler: http.HandlerFunc(ok)}}
	l := listen(t, "tcp", "127.0.0.1:0")
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		nc.Close()
		<-served
	})
	return s, (&client{t, nc, bufio.NewReader(nc)}).http2("")
}
