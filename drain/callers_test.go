// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"math"
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

func TestDrainCallsOfTheirOwnPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: 5 * time.Second}, ok)
		type result struct {
			report drain.Report
			err    error
			took   time.Duration
		}
		call := func(d time.Duration) <-chan result {
			done := make(chan result, 1)
			go func() {
				t0 := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), d)
				defer cancel()
				report, err := r.srv.Drain(ctx)
				done <- result{report, err, time.Since(t0)}
			}()
			synctest.Wait()
			return done
		}
		first, impatient, patient := call(20*time.Second), call(time.Second), call(time.Minute)
		assert.Equal(t, result{err: context.DeadlineExceeded, took: time.Second}, <-impatient)
		want := <-first
		assert.NoError(t, want.err)
		assert.Equal(t, 5*time.Second, want.took)
		assert.Equal(t, want, <-patient)
		<-r.served

		// After the end the result is there, even for those who have no time.
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			report, err := r.srv.Drain(cancelled)
			assert.NoError(t, err)
			assert.Equal(t, want.report, report)
		}
		r.nothingOpen()
	})
}

func TestDrainBeforeServeIsFinal(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		t.Run(fmt.Sprintf("with a cancelled context %v", cancelled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &drain.Server{HTTP: new(http.Server), Floor: time.Minute}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if cancelled {
					cancel()
				}
				t0 := time.Now()
				_, err := srv.Drain(ctx)
				require.NoError(t, err)
				assert.Zero(t, time.Since(t0))
				<-srv.AcceptWindowClosed()

				l := memnet.Listen()
				assert.Equal(t, http.ErrServerClosed, srv.Serve(l))
				_, err = l.Dial(t.Context())
				assert.ErrorIs(t, err, net.ErrClosed, "the listener is closed in every case")
				assert.Equal(t, drain.Stats{}, srv.Stats())
			})
		})
	}
}

// The caller must not do it, but a Drain after it has nothing to wait for.
func TestDrainAfterHTTPClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/active" {
				<-r.Context().Done()
			}
		})
		idle, active := r.dial(), r.dial()
		idle.get("/")
		active.send("/active")
		synctest.Wait()
		require.NoError(t, r.srv.HTTP.Close())
		synctest.Wait()
		r.nothingOpen()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Zero(t, took)
		r.nothingOpen()
	})
}

func TestCancelledContextCutsWhatWorksAndNotWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Minute}, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/active":
				<-r.Context().Done()
				assert.ErrorIs(t, context.Cause(r.Context()), drain.ErrCut)
			case "/hijacked":
				hijacks(func(net.Conn) {})(w, r)
			}
		})
		idle, silent, active, hijacked := r.dial(), r.dial(), r.dial(), r.dial()
		idle.get("/")
		active.send("/active")
		hijacked.send("/hijacked")
		time.Sleep(time.Second)
		assert.Equal(t, drain.Stats{Open: 4, New: 1, Active: 1, Idle: 1, Hijacked: 1, InFlight: 1}, r.srv.Stats())

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t0 := time.Now()
		report, err := r.srv.Drain(ctx)
		assert.Zero(t, time.Since(t0))
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, []string{"GET /active (running for more than 0s)", "hijacked connection from pipe"}, report.Cut)
		assert.EqualValues(t, 1, report.HijackedCut)
		assert.False(t, report.Quiet)
		for _, c := range []*client{idle, silent, active, hijacked} {
			c.waitClosed(t0)
		}
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		synctest.Wait()
		r.nothingOpen()
	})
}

func TestWithoutADeadlineTheLastRequestIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Hour)
			assert.NoError(t, r.Context().Err())
		})
		c := r.dial()
		time.AfterFunc(time.Second/2, func() { assert.True(t, c.get("/").Close) })
		t0 := time.Now()
		report, err := r.srv.Drain(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Second/2+10*time.Hour, time.Since(t0))
		assert.Equal(t, 1500*time.Millisecond, report.Accept.Took)
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		r.nothingOpen()
	})
}

// A linger that is as good as none does not turn into one that is over.
func TestHugeDurationsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &drain.Server{Linger: math.MaxInt64, Silent: math.MaxInt64, Spread: math.MaxInt64}, ok)
		r.dial().get("/")
		r.dial() // silent
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 28*time.Second-drain.CancelMargin+drain.LookWait, took)
		assert.EqualValues(t, 1, report.Idle)
		assert.EqualValues(t, 1, report.Silent)
		r.nothingOpen()
	})
}

// The functions of RegisterOnShutdown are called even when the drain is cut.
func TestRegisterOnShutdownIsCalledAtTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := make(chan struct{})
		r := start(t, &drain.Server{}, func(w http.ResponseWriter, r *http.Request) { <-called })
		r.srv.HTTP.RegisterOnShutdown(func() { close(called) })
		c := r.dial()
		c.discard()
		c.send("/")
		synctest.Wait()
		_, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 9500*time.Millisecond, took)
		r.nothingOpen()
	})
}
