// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
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

// A stuckListener's Accept waits for release, whatever happens.
type stuckListener struct{ release chan net.Conn }

func (l stuckListener) Accept() (net.Conn, error) {
	if c, ok := <-l.release; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (stuckListener) Close() error   { return nil }
func (stuckListener) Addr() net.Addr { return memnet.Listen().Addr() }

// startStuck serves on a good listener and on one that cannot be closed.
func startStuck(t *testing.T, h http.HandlerFunc) (r *rig, stuck stuckListener, end func()) {
	r = start(t, &drain.Server{}, h)
	stuck = stuckListener{make(chan net.Conn)}
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(stuck) }()
	synctest.Wait()
	return r, stuck, func() {
		close(stuck.release)
		assert.Equal(t, http.ErrServerClosed, <-done)
	}
}

func TestListenerThatCannotBeClosedDoesNotHoldTheDrainBeyondItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, end := startStuck(t, ok)
		_, took, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		assert.LessOrEqual(t, took, 10*time.Second)
		r.nothingOpen()
		end()
	})
}

// One bad listener does not take from the connections of the good one what they
// are owed: to linger, and to be told before they are cut.
func TestListenerThatCannotBeClosedLeavesTheOthersTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, end := startStuck(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		idle, slow := r.dial(), r.dial()
		idle.get("/")
		answered := make(chan time.Duration, 1)
		t0 := time.Now()
		go func() {
			slow.send("/slow")
			if resp, err := http.ReadResponse(slow.br, nil); assert.NoError(t, err) {
				assert.Equal(t, 503, resp.StatusCode)
			}
			answered <- time.Since(t0)
		}()
		synctest.Wait()
		report, _, err := r.drain(10 * time.Second)
		assert.NoError(t, err)
		assert.EqualValues(t, 2, report.Idle, "and the slow one, once it is answered")
		assert.Equal(t, 7500*time.Millisecond, <-answered)
		end()
		synctest.Wait()
		r.nothingOpen()
	})
}

// Nobody would ever close what such a listener accepts after the end.
func TestConnectionAcceptedAfterTheEndIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stuck, end := startStuck(t, ok)
		_, _, err := r.drain(10 * time.Second)
		require.NoError(t, err)
		ours, theirs := net.Pipe()
		defer ours.Close()
		stuck.release <- theirs
		end()
		time.Sleep(time.Minute)
		r.nothingOpen()
	})
}
