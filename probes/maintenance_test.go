// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestMaintenance(t *testing.T) {
	const off = "503 not ready: maintenance\n"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.ready("db", pass)
		r.run()
		r.Maintain("new disks", 0)
		assert.Equal(t, off, r.readyz())
		assert.Equal(t, okBody, r.live())
		assert.Equal(t, okBody, r.startup())
		time.Sleep(10 * forLong)
		assert.Equal(t, off, r.readyz())
		r.EndMaintenance()
		assert.Equal(t, okBody, r.readyz())
		r.all()

		r.Maintain("new disks", time.Minute)
		time.Sleep(time.Minute - 1)
		assert.Equal(t, off, r.readyz())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, okBody, get(r.ReadyHandler()), "by itself")
		assert.Equal(t, "level=INFO msg=\"probes: probe fails\" probe=readiness reason=\"not ready: maintenance: new disks\"\n"+
			"level=INFO msg=\"probes: probe passes\" probe=readiness\n", r.all())

		r.Maintain("secret", time.Minute)
		for _, query := range []string{"?verbose", "?verbose&format=json", "?format=html"} {
			assert.Contains(t, strings.ToLower(request(r.ReadyHandler(), http.MethodGet, "/readyz"+query).Body.String()), "maintenance: secret")
			w := httptest.NewRecorder()
			r.ReadyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz"+query, nil))
			assert.NotContains(t, w.Body.String(), "secret", "to a stranger")
		}

		r.Maintain("a", time.Minute)
		r.Maintain("b", time.Hour)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, off, r.readyz(), "the later one counts")
		r.Shutdown()
		r.EndMaintenance()
		assert.Equal(t, shutdown, r.readyz())
		r.Maintain("c", time.Minute)
		assert.Equal(t, shutdown, r.readyz())
		r.end()
		assert.Equal(t, shutdown, r.readyz())
	})

	t.Run("ends by itself without Run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			end := watch(r.Registry)
			r.Maintain("", time.Minute)
			assert.Equal(t, off, r.readyz())
			time.Sleep(time.Minute)
			assert.Equal(t, okBody, r.readyz())
			time.Sleep(time.Minute)
			got := end()
			require.Len(t, got, 3)
			assert.Equal(t, seen{time.Minute, probes.Status{Live: true, Ready: true, Started: true, Serving: true}}, got[2])
		})
	})
}

func TestMaintenanceThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Maintain("until then", time.Until(time.Now().Add(-time.Second)))
		assert.Equal(t, okBody, r.readyz())
		r.Maintain("for good", 0)
		time.Sleep(forLong)
		assert.Equal(t, "503 not ready: maintenance\n", r.readyz())
		r.Maintain("", -1)
		assert.Equal(t, "503 not ready: maintenance\n", r.readyz(), "nor does that end another")
	})
}

func TestMaintenanceWithoutAReason(t *testing.T) {
	r := newRig(t)
	r.Started()
	r.Maintain("", 0)
	for _, query := range []string{"?verbose", "?verbose&format=json", "?format=html"} {
		body := strings.ToLower(request(r.Handler(), http.MethodGet, "/readyz"+query).Body.String())
		assert.Contains(t, body, "not ready: maintenance")
		assert.NotContains(t, body, "maintenance: ")
	}
}
