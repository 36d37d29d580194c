// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/probes"
)

// TestEndOfMaintenanceAfterShutdown: maintenance has no say once the shutdown has begun,
// whether it is ended, ends by itself, or begins; and whatever is asked, it is over.
func TestEndOfMaintenanceAfterShutdown(t *testing.T) {
	for name, tt := range map[string]struct{ before, after func(*probes.Registry) }{
		"ended":       {func(r *probes.Registry) { r.Maintain("upgrade", 0) }, func(r *probes.Registry) { r.EndMaintenance() }},
		"ends itself": {func(r *probes.Registry) { r.Maintain("upgrade", time.Minute) }, func(*probes.Registry) {}},
		"begins": {func(*probes.Registry) {}, func(r *probes.Registry) {
			r.Maintain("upgrade", time.Minute)
			assert.Equal(t, shutdown, get(r.ReadyHandler()))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.ready("db", pass)
				r.run()
				tt.before(r.Registry)
				r.Shutdown()
				tt.after(r.Registry)
				for range 2 {
					for _, target := range []string{"/readyz", "/readyz?verbose", "/readyz?exclude=db", "/readyz/db", "/readyz?format=json"} {
						w := httptest.NewRecorder()
						r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
						assert.Equal(t, http.StatusServiceUnavailable, w.Code, target)
						assert.Contains(t, w.Body.String(), "shutting down", target)
					}
					time.Sleep(forLong)
				}
				r.end()
			})
		})
	}
}
