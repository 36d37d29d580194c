// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSecurityNoAnswerHasACORSHeader: no page of another site is told anything by a
// browser, whatever it asks for.
func TestSecurityNoAnswerHasACORSHeader(t *testing.T) {
	sick(t, func(r *rig) {
		for _, h := range []http.Handler{r.Handler(), mounted(r.Registry)} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost} {
				for _, target := range []string{"/", "/livez", "/readyz", "/readyz?verbose", "/readyz?format=json&verbose",
					"/readyz?format=html", "/readyz/db", "/readyz/nothing", "/servingz", "/startupz", "/nowhere"} {
					req := httptest.NewRequest(method, target, nil)
					req.Header.Set("Origin", "https://evil.example")
					req.Header.Set("Access-Control-Request-Method", "GET")
					req.Header.Set("Access-Control-Request-Private-Network", "true")
					w := httptest.NewRecorder()
					h.ServeHTTP(w, req)
					for name := range w.Header() {
						assert.NotContains(t, name, "Access-Control", "%s %s", method, target)
					}
				}
			}
		}
	})
}
