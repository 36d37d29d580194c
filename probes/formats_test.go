// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestJSON(t *testing.T) {
	sick(t, func(r *rig) {
		w := request(r.ReadyHandler(), http.MethodGet, "/readyz?format=json")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "application/health+json", w.Header().Get("Content-Type"))
		assert.JSONEq(t, `{"status":"fail","description":"readiness","output":"not ready: db; skipped: orders"}`, w.Body.String())

		w = request(r.ReadyHandler(), http.MethodGet, "/readyz?format=json&verbose&exclude=cache&exclude=x")
		var got struct {
			Status string
			Notes  []string
			Checks map[string][]map[string]any
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, []string{"there is no such check to exclude: x", "excluded: cache"}, got.Notes)
		require.Len(t, got.Checks, 6)
		assert.Equal(t, map[string]any{
			"componentId": "orders", "status": "fail", "state": "skipped", "importance": "critical",
			"output": "skipped because of db", "dependsOn": []any{"db"}, "causes": []any{"db"},
		}, got.Checks["orders"][0])
		assert.Equal(t, map[string]any{
			"componentId": "slow", "status": "warn", "state": "failing", "importance": "optional",
			"output": "timed out after 1s", "observedValue": 1000.0, "observedUnit": "ms", "time": "2000-01-01T00:00:01Z",
		}, inUTC(t, got.Checks["slow"][0]))
		assert.Equal(t, true, got.Checks["cache"][0]["excluded"])
		assert.Equal(t, "pass", got.Checks["a/b c/é"][0]["status"])
		assert.NotContains(t, got.Checks["a/b c/é"][0], "output")
		assert.JSONEq(t, `{"status":"pass","description":"liveness"}`, request(r.LiveHandler(), http.MethodGet, "/livez?format=json").Body.String())
	})
}

func inUTC(t *testing.T, part map[string]any) map[string]any {
	at, err := time.Parse(time.RFC3339Nano, part["time"].(string))
	require.NoError(t, err)
	part["time"] = at.UTC().Format(time.RFC3339Nano)
	return part
}

func TestFormats(t *testing.T) {
	const text, health, page = "text/plain; charset=utf-8", "application/health+json", "text/html; charset=utf-8"
	r := new(probes.Registry)
	for _, tt := range []struct{ query, accept, want string }{
		{"", "", text},
		{"", "*/*", text},
		{"", "text/plain", text},
		{"", "application/json", health},
		{"", "application/health+json", health},
		{"", "Application/Health+JSON; q=0.9, text/*;q=0.8", health},
		{"", "text/plain, application/json", text},
		{"", "text/plain;q=0.5, application/json;q=0.6", health},
		{"", "application/json;q=0", text},
		{"", "application/json;q=NaN", text},
		{"", "application/json;q=2", text},
		{"", "image/png", text},
		{"", ";;,,;q=,q", text},
		{"", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page},
		{"?format=json", "text/html", health},
		{"?format=text", "text/html", text},
		{"?format=html", "", page},
		{"?format=yaml", "", text},
		{"?format=yaml", "application/json", health},
	} {
		req := httptest.NewRequest(http.MethodGet, "/readyz"+tt.query, nil)
		if tt.accept != "" {
			req.Header.Set("Accept", tt.accept)
		}
		w := httptest.NewRecorder()
		r.ReadyHandler().ServeHTTP(w, req)
		assert.Equal(t, tt.want, w.Header().Get("Content-Type"), "%+v", tt)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		assert.Equal(t, fmt.Sprint(w.Body.Len()), w.Header().Get("Content-Length"))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	}
}
