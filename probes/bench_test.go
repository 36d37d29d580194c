// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// ready returns a registry of n checks that have passed, and the handler of its
// readiness probe.
func ready(tb testing.TB, n int) http.Handler {
	r := new(probes.Registry)
	checks := make([]probes.Check, n)
	for i := range checks {
		checks[i] = probes.Check{Name: strconv.Itoa(i), Interval: time.Hour, Timeout: time.Hour, Func: pass}
	}
	require.NoError(tb, r.AddReadiness(checks...))
	r.Started()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	tb.Cleanup(func() { cancel(); <-ran })
	for s := range r.Watch(ctx) {
		if s.Ready {
			break
		}
	}
	return r.ReadyHandler()
}

// prepared is the rival: a constant answer with the same headers, and nothing to
// decide.
type prepared struct{ body []byte }

var (
	noStore   = []string{"no-store"}
	plainText = []string{"text/plain; charset=utf-8"}
	noSniff   = []string{"nosniff"}
	three     = []string{"3"}
)

func (p prepared) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["Cache-Control"] = noStore
	header["Content-Type"] = plainText
	header["X-Content-Type-Options"] = noSniff
	header["Content-Length"] = three
	w.WriteHeader(http.StatusOK)
	w.Write(p.body)
}

func kubelet() *http.Request {
	req := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("User-Agent", "kube-probe/1.37")
	req.Header.Set("Connection", "close")
	return req
}

func BenchmarkReady(b *testing.B) {
	bench := func(name string, h http.Handler) {
		b.Run(name, func(b *testing.B) {
			w, req := &sink{make(http.Header, 8)}, kubelet()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, req)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w, req := &sink{make(http.Header, 8)}, kubelet()
				for pb.Next() {
					h.ServeHTTP(w, req)
				}
			})
		})
	}
	bench("prepared", prepared{[]byte("ok\n")})
	for _, n := range []int{1, 10, 100, 1000} {
		bench(strconv.Itoa(n), ready(b, n))
	}
}

// BenchmarkVerbose is what an answer costs that tells of every check.
func BenchmarkVerbose(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			h, w := ready(b, n), &sink{make(http.Header, 8)}
			req := httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, req)
			}
		})
	}
}

func BenchmarkBeat(b *testing.B) {
	r := new(probes.Registry)
	h, err := r.AddHeartbeat("worker", time.Hour)
	require.NoError(b, err)
	for b.Loop() {
		h.Beat()
	}
}
