// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heptiolabs/healthcheck"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/heptio"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// What NewHandler(nil) says it does.
		goleak.IgnoreAnyFunction("github.com/lameduck-go/lameduck/probes/heptio.runForLife"))
}

func get(h http.Handler, method, path string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return strconv.Itoa(w.Code) + " " + w.Body.String()
}

func TestTheirChecksRunHere(t *testing.T) {
	errDown := errors.New("down")
	assert.NoError(t, heptio.Check(func() error { return nil })(t.Context()))
	assert.ErrorIs(t, heptio.Check(func() error { return errDown })(t.Context()), errDown)

	var r probes.Registry
	require.NoError(t, r.AddReadiness(probes.Check{
		Name: "goroutines",
		Func: heptio.Check(healthcheck.GoroutineCountCheck(1000)),
	}))
	assert.ErrorIs(t, r.AddReadiness(probes.Check{Name: "nil", Func: heptio.Check(nil)}), probes.ErrInvalid)
}

func TestTheirHandlerIsServedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
		h := heptio.NewHandler(r)
		var up atomic.Bool
		h.AddLivenessCheck("goroutines", healthcheck.GoroutineCountCheck(1000))
		h.AddReadinessCheck("db", func() error {
			if up.Load() {
				return nil
			}
			return errors.New("down")
		})
		assert.Equal(t, "503 not ready: starting\n", get(h, "GET", "/ready"))

		r.Started()
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.Run(ctx) }()
		synctest.Wait()
		assert.Equal(t, "200 ok\n", get(h, "GET", "/live"))
		assert.Equal(t, "503 not ready: db\n", get(h, "GET", "/ready"))
		assert.Equal(t, "503 not ready: db\n", get(h, "GET", "/ready?full=1"), "not there yet")
		up.Store(true)
		time.Sleep(probes.DefaultInterval)
		synctest.Wait()
		assert.Equal(t, "200 ok\n", get(h, "GET", "/ready"))
		assert.Equal(t, "200 ", get(h, "HEAD", "/ready"))
		assert.Equal(t, "405 method not allowed\n", get(h, "POST", "/live"))
		assert.Equal(t, "404 404 page not found\n", get(h, "GET", "/"))

		r.Shutdown()
		assert.Equal(t, "200 ok\n", get(http.HandlerFunc(h.LiveEndpoint), "GET", "/anywhere"))
		assert.Equal(t, "503 not ready: shutting down\n", get(http.HandlerFunc(h.ReadyEndpoint), "GET", "/anywhere"))
		cancel()
		require.NoError(t, <-ran)
	})
}

func TestBadRegistrationPanics(t *testing.T) {
	h := heptio.NewHandler(new(probes.Registry))
	h.AddReadinessCheck("db", func() error { return nil })
	assert.PanicsWithValue(t, `heptio: AddReadinessCheck: probes: invalid check: there is a readiness check "db" already`,
		func() { h.AddReadinessCheck("db", func() error { return nil }) })
	assert.PanicsWithValue(t, `heptio: AddReadinessCheck: probes: invalid check: readiness check "nil" has no function`,
		func() { h.AddReadinessCheck("nil", nil) })
	assert.PanicsWithValue(t, `heptio: AddLivenessCheck: probes: invalid check: liveness check "nil" has no function`,
		func() { h.AddLivenessCheck("nil", nil) })
}

func TestNilRegistryRuns(t *testing.T) {
	h := heptio.NewHandler(nil)
	assert.Equal(t, "200 ok\n", get(h, "GET", "/live"))
	assert.Equal(t, "200 ok\n", get(h, "GET", "/ready"))
	asked := make(chan struct{})
	h.AddReadinessCheck("db", func() error {
		asked <- struct{}{}
		return errors.New("down")
	})
	<-asked
	assert.Equal(t, "503 not ready: db\n", get(h, "GET", "/ready"))
}
