// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzProbe asks whether any request is a probe, and has its answer noted: it is one by
// its path or its user agent alone, and what is remembered of it is bounded.
func FuzzProbe(f *testing.F) {
	f.Add("/readyz", "curl/8", "10.0.0.1:1234", 503)
	f.Add("/readyz/", "kube-probe/1.37", "[::1]:1", 200)
	f.Add("/grpc.health.v1.Health/Check", "grpc-go", "@", 404)
	f.Add("/", "GoogleHC/1.0", "", 200)
	f.Add("/orders", "x ELB-HealthChecker/2.0", "a:b:c", 100)
	f.Add(strings.Repeat("/x", 300), strings.Repeat("y", 300), "1.2.3.4:5", 503)
	f.Add("/readyz", strings.Repeat("y", 600), "1.2.3.4:5", 503)
	f.Add("/readyz", "curl/8", strings.Repeat("1", 600)+":5", 503)
	paths := regexp.MustCompile(`\A/(?:live|ready|startup|serving|health)z\z|\A/(?:live|ready|health)\z|\A/grpc\.health\.v1\.Health/`)
	agents := regexp.MustCompile(`\A(?:kube-probe|GoogleHC|ELB-HealthChecker)/`)
	f.Fuzz(func(t *testing.T, path, agent, addr string, status int) {
		if status < 100 || status > 999 {
			return // net/http panics
		}
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{"User-Agent": {agent}}, RemoteAddr: addr}
		probe := IsProbe(r)
		assert.Equal(t, paths.MatchString(path) || agents.MatchString(agent), probe)

		s := &Server{HTTP: new(http.Server), FailureThreshold: 1}
		watched := s.WatchProbes(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		for range 2 { // so it is one that asks regularly
			w := httptest.NewRecorder()
			watched.ServeHTTP(w, r)
			if status >= 200 {
				assert.Equal(t, status, w.Code)
			}
		}
		if len(s.probers.seen) > 0 {
			assert.True(t, probe)
			assert.Len(t, s.probers.seen, 1)
			assert.False(t, strings.HasPrefix(agent, kubelet), "it asks to the very end")
		}
		for p := range s.probers.seen {
			assert.LessOrEqual(t, len(p.host)+len(p.agent)+len(p.path), maxProber)
			assert.Equal(t, [2]string{agent, path}, [2]string{p.agent, p.path})
			assert.True(t, strings.Contains(addr, p.host))
		}
	})
}
