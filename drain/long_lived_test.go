// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// waits returns a handler of a LongLived route that says when it was told.
func waits(t *testing.T, told chan<- time.Time) http.HandlerFunc {
	return drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		assert.Equal(t, drain.ErrDraining, context.Cause(r.Context()))
		select {
		case <-drain.Draining(r.Context()):
		default:
			t.Error("LongLived and Draining tell different stories")
		}
		told <- time.Now()
	})).ServeHTTP
}

func TestLongLivedRequestsAreToldOverTheSpread(t *testing.T) {
	for _, tt := range []struct {
		name          string
		floor, spread time.Duration
		want          time.Duration // the last is told by then
	}{
		{"the floor is the default", 4 * time.Second, 0, 4 * time.Second},
		{"set", 0, 6 * time.Second, 6 * time.Second},
		{"at once", 4 * time.Second, -1, 0},
		{"half of the time at most", 0, time.Hour, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 200
				told := make(chan time.Time, n)
				r := start(t, &drain.Server{Floor: tt.floor, Spread: tt.spread, Linger: -1}, waits(t, told))
				for range n {
					c := r.dial()
					c.discard()
					c.send("/events")
				}
				time.Sleep(time.Hour)
				assert.Empty(t, told, "nobody before T0")
				t0 := time.Now()
				report, _, err := r.drain(20 * time.Second)
				require.NoError(t, err)
				assert.Empty(t, report.Cut)
				require.Len(t, told, n)
				var early, late int
				for range n {
					after := (<-told).Sub(t0)
					assert.LessOrEqual(t, after, tt.want)
					if after <= tt.want/4 {
						early++
					}
					if after >= tt.want*3/4 {
						late++
					}
				}
				// A quarter each is expected, and 10 are off by six sigma.
				assert.Greater(t, early, 10)
				assert.Greater(t, late, 10)
				r.nothingOpen()
			})
		})
	}
}

func TestLongLivedRequestAfterT0IsToldInWhatIsLeftOfTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		told := make(chan time.Time, n)
		r := start(t, &drain.Server{Floor: 6 * time.Second, Spread: 4 * time.Second}, waits(t, told))
		t0 := time.Now()
		for range n {
			c := r.dial() // before T0
			c.discard()
			time.AfterFunc(3*time.Second, func() { c.send("/events") })
		}
		time.AfterFunc(4500*time.Millisecond, func() {
			assert.Len(t, told, n)
			for range n {
				after := (<-told).Sub(t0)
				assert.GreaterOrEqual(t, after, 3*time.Second)
				assert.LessOrEqual(t, after, 4*time.Second)
			}
		})
		_, took, err := r.drain(20 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 6*time.Second, took)
		r.nothingOpen()
	})
}

// To tell it before would have it come back here while balancers still send, and
// keep the accept window open.
func TestLongLivedConnectionThatIsNewIsToldOnceTheWindowIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		told := make(chan time.Time, n)
		r := start(t, &drain.Server{Floor: 6 * time.Second}, waits(t, told))
		t0 := time.Now()
		time.AfterFunc(3*time.Second, func() {
			for range n {
				c := r.dial()
				c.discard()
				c.send("/events")
			}
		})
		report, took, err := r.drain(20 * time.Second)
		require.NoError(t, err)
		assert.True(t, report.Quiet)
		assert.Equal(t, 6*time.Second, report.Accept.Took)
		for range n {
			after := (<-told).Sub(t0)
			assert.Greater(t, after, 6*time.Second)
			assert.LessOrEqual(t, after, 7*time.Second)
		}
		assert.LessOrEqual(t, took, 7*time.Second)
		r.nothingOpen()
	})
}

func TestDrainingEndsWithTheConnection(t *testing.T) {
	for _, hijacked := range []bool{false, true} {
		t.Run(fmt.Sprintf("hijacked %v", hijacked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				draining := make(chan (<-chan struct{}), 1)
				r := start(t, &drain.Server{Floor: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
					draining <- drain.Draining(r.Context())
					if hijacked {
						hijacks(func(nc net.Conn) {
							go func() {
								io.Copy(io.Discard, nc)
								nc.Close()
							}()
						})(w, r)
					}
				})
				c := r.dial()
				c.discard()
				c.send("/")
				told := <-draining
				time.Sleep(time.Hour)
				select {
				case <-told:
					t.Error("told before T0")
				default:
				}
				c.Close()
				<-told
				synctest.Wait()
				r.nothingOpen()
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, err := r.srv.Drain(ctx)
				require.NoError(t, err)
				<-r.served
			})
		})
	}
}

// The handlers end by themselves before they are told: nothing is left behind
// that would tell them later.
func TestNoticesEndWithTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Spread: time.Hour}, drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			assert.NoError(t, r.Context().Err())
			hijacks(func(nc net.Conn) { nc.Close() })(w, r)
			<-drain.Draining(r.Context()) // by its own end
		})).ServeHTTP)
		for range 10 {
			c := r.dial()
			c.discard()
			c.send("/")
		}
		synctest.Wait()
		_, took, err := r.drain(10 * time.Hour)
		require.NoError(t, err)
		assert.Equal(t, time.Second, took)
		r.nothingOpen()
	})
}

func TestOutsideAServerNobodyIsTold(t *testing.T) {
	assert.Nil(t, drain.Draining(t.Context()))
	ctx, stop := drain.NotifyContext(t.Context())
	assert.NoError(t, ctx.Err())
	stop()
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
	r := httptest.NewRequest("GET", "/", nil)
	drain.LongLived(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		assert.Same(t, r, got)
	})).ServeHTTP(httptest.NewRecorder(), r)
}
