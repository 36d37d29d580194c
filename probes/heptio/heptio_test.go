// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

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

func TestBadRegistrationPanics(t *testing.T) {
	r := new(probes.Registry)
	h := heptio.NewHandler(r)
	require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: func(context.Context) error { return nil }}))
	assert.PanicsWithValue(t, `heptio: AddReadinessCheck: probes: invalid check: there is a readiness check "db" already`,
		func() { h.AddReadinessCheck("db", func() error { return nil }) })
	assert.PanicsWithValue(t, `heptio: AddReadinessCheck: probes: invalid check: readiness check "nil" has no function`,
		func() { h.AddReadinessCheck("nil", nil) })
	assert.PanicsWithValue(t, `heptio: AddLivenessCheck: probes: invalid check: liveness check "nil" has no function`,
		func() { h.AddLivenessCheck("nil", nil) })
	assert.PanicsWithValue(t, `heptio: AddLivenessCheck: probes: invalid check: a liveness check has no name`,
		func() { h.AddLivenessCheck("", func() error { return nil }) })
}

func TestNilRegistryRuns(t *testing.T) {
	h := heptio.NewHandler(nil)
	assert.Equal(t, "200 {}\n", get(h, "GET", "/live"))
	assert.Equal(t, "200 {}\n", get(h, "GET", "/ready"))
	ran := make(chan struct{}, 1)
	h.AddReadinessCheck("db", func() error {
		select {
		case ran <- struct{}{}:
		default: // not the first time
		}
		return errors.New("down")
	})
	<-ran
	assert.Equal(t, "503 {}\n", get(h, "GET", "/ready"))
	assert.Equal(t, "200 {}\n", get(h, "GET", "/live"))
}
