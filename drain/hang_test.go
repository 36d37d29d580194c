// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// What the drain asks a connection or the program for and is not answered is named as
// cut, and holds up neither the others nor the drain: it is over at its deadline.
func TestMethodsThatHang(t *testing.T) {
	for _, tt := range []struct{ path, says string }{
		{"/idle", "SetReadDeadline of the connection *drain_test.wrapConn"},
		{"/hijacked", "RemoteAddr of the connection *drain_test.wrapConn"},
		{"/active", "Route"},
		{"", "SetDeadline of the listener *drain_test.wrapListener"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				hang := func() { <-release }
				var first *wrapConn
				l := guilty(func(c *wrapConn) { first = c })
				srv := &drain.Server{Linger: -1}
				if tt.path == "/active" {
					srv.Route = func(*http.Request) string { hang(); return "" }
				}
				r := startWrapped(t, srv, l, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/active" {
						hang()
					} else {
						work(w, r)
					}
				})
				c, other := r.dial(), r.dial()
				if tt.path != "" {
					c.send(tt.path)
				}
				other.send("/idle")
				c.discard()
				ended := make(chan time.Time, 1)
				go func() {
					io.Copy(io.Discard, other)
					ended <- time.Now()
				}()
				synctest.Wait()
				switch tt.path { // net/http has asked before
				case "/idle":
					first.onSetReadDeadline = hang
				case "/hijacked":
					first.onRemoteAddr = hang
				case "":
					l.onSetDeadline = hang
				}
				begin := time.Now()
				report, took, err := r.drain(20 * time.Second)
				assert.Contains(t, []time.Duration{20 * time.Second, 20*time.Second - drain.CutMargin}, took)
				assert.LessOrEqual(t, (<-ended).Sub(begin), 2*time.Second, "the other one is not held up")
				says := tt.says + ", which has not returned"
				require.ErrorIs(t, err, drain.ErrCut)
				assert.Contains(t, report.Cut, says)
				assert.ErrorContains(t, err, says)
			})
		})
	}
}

// A lookConn hangs when the drain reads it once more. A lock is held meanwhile, so no
// fake time goes by.
type lookConn struct {
	net.Conn
	hang func()
}

func (c *lookConn) SetReadDeadline(t time.Time) error {
	if t.After(time.Unix(1, 0)) { // net/http sets none without a time-out, or just this one
		c.hang()
	}
	return c.Conn.SetReadDeadline(t)
}

// Drain returns even if what hangs keeps it from going on.
func TestDrainReturnsWhateverHangs(t *testing.T) {
	release, served, idle := make(chan struct{}), make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &wrapListener{Listener: memnet.Listen(), wrap: func(nc net.Conn) net.Conn {
		return &lookConn{nc, func() { cancel(); <-release }}
	}}
	srv := &drain.Server{Linger: -1, HTTP: &http.Server{Handler: http.HandlerFunc(ok), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateIdle {
			close(idle)
		}
	}}}
	go func() { served <- srv.Serve(l) }()
	nc, err := l.Dial(t.Context())
	require.NoError(t, err)
	defer nc.Close()
	go io.Copy(io.Discard, nc)
	_, err = nc.Write([]byte("GET / HTTP/1.1\r\nHost: pipe\r\n\r\n"))
	require.NoError(t, err)
	<-idle
	report, err := srv.Drain(ctx)
	const says = "SetReadDeadline of the connection *drain_test.lookConn, which has not returned"
	require.ErrorIs(t, err, drain.ErrCut)
	assert.ErrorContains(t, err, says)
	assert.Equal(t, []string{says}, report.Cut)
	close(release)
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
	again, err := srv.Drain(t.Context())
	assert.ErrorContains(t, err, says)
	assert.Equal(t, report, again)
}
