// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

func TestGRPCCallsAreCancelledThenCutAndNamed(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		release := make(chan struct{})
		var cancelled time.Duration
		t0 := time.Now()
		g := &fakeGRPC{handle: func(ctx context.Context, method string) {
			switch method {
			case "/t.T/Polite":
				<-ctx.Done()
				cancelled = time.Since(t0)
				assert.Equal(t, drain.ErrCut, context.Cause(ctx))
			case "/t.T/Deaf":
				<-release
			}
		}}
		r := start(&drain.Server{Spread: -1}, g)
		c := dial(r)
		c.call(1, "/t.T/Polite")
		c.call(3, "/t.T/Deaf")
		synctest.Wait()
		time.Sleep(time.Minute)
		t0 = time.Now()
		report, took, err := r.drain(28 * time.Second)
		assert.Equal(t, 28*time.Second, took)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.ErrorContains(t, err, "gRPC /t.T/Deaf (running for 1m27.5s)")
		assert.Equal(t, []string{"gRPC /t.T/Deaf (running for 1m27.5s)"}, report.Cut)
		assert.EqualValues(t, 2, report.Cancelled)
		assert.Equal(t, 28*time.Second-drain.CancelMargin, cancelled)
		assert.Equal(t, []string{"GracefulStop", "Stop"}, g.stopped())
		<-c.end
		assert.True(t, c.answered(1))
		assert.False(t, c.answered(3))
		close(release)
	})
}

// A call that begins when the others have been cancelled already is no better off.
func TestGRPCCallAfterTheOthersWereCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 2)
		r := startGRPC(t, &drain.Server{Spread: -1}, &fakeGRPC{handle: func(ctx context.Context, method string) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			if method == "/t.T/Slow" {
				time.Sleep(time.Second)
			}
		}})
		c := r.dial().http2("")
		c.call(1, "/t.T/Slow")
		synctest.Wait()
		time.AfterFunc(28*time.Second-drain.CancelMargin+time.Second/2, func() { c.call(3, "/t.T/Late") })
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 28*time.Second-drain.CancelMargin+time.Second, took)
		assert.Equal(t, []error{drain.ErrCut, drain.ErrCut}, []error{<-causes, <-causes})
	})
}

func TestGRPCIsStoppedWhenTheContextIsCancelled(t *testing.T) {
	bothGRPC(t, func(t *testing.T, start func(*drain.Server, *fakeGRPC) *rig, dial func(*rig) *h2Client) {
		var cause error
		g := &fakeGRPC{handle: func(ctx context.Context, _ string) {
			<-ctx.Done()
			cause = context.Cause(ctx)
		}}
		r := start(&drain.Server{Floor: time.Hour}, g)
		c := dial(r)
		c.call(1, "/t.T/Quick")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		t0 := time.Now()
		report, err := r.srv.Drain(ctx)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, time.Second, time.Since(t0))
		assert.Equal(t, []string{"gRPC /t.T/Quick (running for 1s)"}, report.Cut, "although it reacts at once")
		assert.Equal(t, http.ErrServerClosed, <-r.served)
		synctest.Wait()
		assert.Equal(t, drain.ErrCut, cause)
		assert.Equal(t, []string{"Stop"}, g.stopped())
		r.nothingOpen()
	})
}

func TestGracefulStopThatHangsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGRPC{hang: make(chan struct{})}
		r := startGRPC(t, &drain.Server{}, g)
		report, took, err := r.drain(10 * time.Second)
		require.ErrorIs(t, err, drain.ErrCut)
		assert.Equal(t, 10*time.Second, took)
		assert.Equal(t, []string{"GracefulStop, which has not returned"}, report.Cut)
		assert.Equal(t, []string{"GracefulStop", "Stop"}, g.stopped())
		close(g.hang)
	})
}

// A brokenGRPC panics when it is to end.
type brokenGRPC struct{ drain.GRPCServer }

func (brokenGRPC) GracefulStop() { panic("no grace") }
func (brokenGRPC) Stop()         { panic("no end") }

func TestPanicsOfAGRPCServerAreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		open bool // a client stays
		want []string
	}{
		"nothing left": {false, []string{"GracefulStop of the gRPC server panicked: no grace"}},
		"cut":          {true, []string{"GracefulStop of the gRPC server panicked: no grace", "Stop of the gRPC server panicked: no end"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				g := &fakeGRPC{handle: func(context.Context, string) { <-release }}
				srv := &drain.Server{}
				r := startGRPC(t, srv, g)
				srv.GRPC = brokenGRPC{g}
				if tt.open {
					c := r.dial().http2("")
					c.call(1, "/t.T/Call")
					synctest.Wait()
				}
				_, took, err := r.drain(10 * time.Second)
				assert.LessOrEqual(t, took, 10*time.Second)
				assert.Equal(t, tt.open, errors.Is(err, drain.ErrCut))
				for _, want := range tt.want {
					assert.ErrorContains(t, err, want)
				}
				close(release)
				synctest.Wait()
				r.nothingOpen()
			})
		})
	}
}
