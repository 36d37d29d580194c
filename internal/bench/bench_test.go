// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	sundheit "github.com/AppsFlyer/go-sundheit"
	sundheitchecks "github.com/AppsFlyer/go-sundheit/checks"
	sundheithttp "github.com/AppsFlyer/go-sundheit/http"
	alexliesenfeld "github.com/alexliesenfeld/health"
	hellofresh "github.com/hellofresh/health-go/v5"
	heptiolabs "github.com/heptiolabs/healthcheck"
	apiserver "k8s.io/apiserver/pkg/server/healthz"
	controllerruntime "sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/heptio"
)

// A peer makes the readiness handler of a library with n checks that pass.
type peer struct {
	name string
	make func(tb testing.TB, n int) http.Handler
}

var peers = []peer{
	{"constant", constant},
	{"lameduck", lameduck},
	{"lameduck-heptio", lameduckHeptio},
	{"controller-runtime", controllerRuntime},
	{"apiserver", apiServer},
	{"heptiolabs", heptioLabs},
	{"alexliesenfeld", alexLiesenfeld},
	{"alexliesenfeld-periodic", alexLiesenfeldPeriodic},
	{"hellofresh", helloFresh},
	{"go-sundheit", goSundheit},
}

// BenchmarkReady is one readiness probe while all is well, without the network.
func BenchmarkReady(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		for _, p := range peers {
			name := fmt.Sprintf("checks=%d/%s", n, p.name)
			b.Run(name+"/serial", func(b *testing.B) { serial(b, p.make(b, n)) })
			b.Run(name+"/parallel", func(b *testing.B) { parallel(b, p.make(b, n)) })
		}
	}
}

func serial(b *testing.B, h http.Handler) {
	w, r := newSink(), probe()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	if w.code != http.StatusOK {
		b.Errorf("answered %d", w.code)
	}
}

func parallel(b *testing.B, h http.Handler) {
	b.ReportAllocs()
	b.ResetTimer() // without what made h
	b.RunParallel(func(pb *testing.PB) {
		w, r := newSink(), probe()
		for pb.Next() {
			h.ServeHTTP(w, r)
		}
		if w.code != http.StatusOK && w.code != 0 { // 0: none was left for it
			b.Errorf("answered %d", w.code)
		}
	})
}

// TestPeers makes sure that what is measured is what is meant.
func TestPeers(t *testing.T) {
	for _, p := range peers {
		for _, n := range []int{1, 10} {
			t.Run(fmt.Sprintf("%s/%d", p.name, n), func(t *testing.T) {
				w := newSink()
				p.make(t, n).ServeHTTP(w, probe())
				if w.code != http.StatusOK || w.bytes == 0 {
					t.Errorf("answered %d with %d bytes", w.code, w.bytes)
				}
			})
		}
	}
}

func probe() *http.Request {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		panic(err)
	}
	return r
}

// A sink is a ResponseWriter that counts. It is used again for each probe, so
// that what is measured is the handler.
type sink struct {
	header http.Header
	code   int
	bytes  int
}

func newSink() *sink { return &sink{header: make(http.Header)} }

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(code int) { s.code = code }

func (s *sink) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	s.bytes += len(b)
	return len(b), nil
}

func name(i int) string { return fmt.Sprintf("check-%04d", i) }

func pass(context.Context) error { return nil }

// constant is the least that an answer with these headers can cost.
func constant(testing.TB, int) http.Handler {
	cacheControl, contentType := []string{"no-store"}, []string{"text/plain; charset=utf-8"}
	noSniff, length, body := []string{"nosniff"}, []string{"3"}, []byte("ok\n")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Cache-Control"] = cacheControl
		h["Content-Type"] = contentType
		h["X-Content-Type-Options"] = noSniff
		h["Content-Length"] = length
		w.WriteHeader(http.StatusOK)
		w.Write(body)
	})
}

// run runs r for the time of the test, and returns when its checks have passed.
func run(tb testing.TB, r *probes.Registry) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			tb.Error(err)
		}
	})
	r.Started()
	for s := range r.Watch(ctx) {
		if s.Ready {
			return
		}
	}
}

func lameduck(tb testing.TB, n int) http.Handler {
	r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	for i := range n {
		if err := r.AddReadiness(probes.Check{Name: name(i), Func: pass, Interval: time.Hour}); err != nil {
			tb.Fatal(err)
		}
	}
	run(tb, r)
	return r.ReadyHandler()
}

func lameduckHeptio(tb testing.TB, n int) http.Handler {
	r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	h := heptio.NewHandler(r)
	for i := range n {
		h.AddReadinessCheck(name(i), func() error { return nil })
	}
	run(tb, r)
	time.Sleep(500 * time.Millisecond) // for as long it looks for new checks
	return http.HandlerFunc(h.ReadyEndpoint)
}

func controllerRuntime(_ testing.TB, n int) http.Handler {
	checks := make(map[string]controllerruntime.Checker)
	for i := range n {
		checks[name(i)] = controllerruntime.Ping
	}
	return &controllerruntime.Handler{Checks: checks}
}

func apiServer(_ testing.TB, n int) http.Handler {
	var checks []apiserver.HealthChecker
	for i := range n {
		checks = append(checks, apiserver.NamedCheck(name(i), func(*http.Request) error { return nil }))
	}
	mux := http.NewServeMux()
	apiserver.InstallPathHandler(mux, "/", checks...)
	h, _ := mux.Handler(probe()) // without the mux, as the others
	return h
}

func heptioLabs(_ testing.TB, n int) http.Handler {
	h := heptiolabs.NewHandler()
	for i := range n {
		h.AddReadinessCheck(name(i), func() error { return nil })
	}
	return http.HandlerFunc(h.ReadyEndpoint)
}

func alexLiesenfeld(tb testing.TB, n int) http.Handler {
	var options []alexliesenfeld.CheckerOption
	for i := range n {
		options = append(options, alexliesenfeld.WithCheck(alexliesenfeld.Check{Name: name(i), Check: pass}))
	}
	return alexLiesenfeldHandler(tb, options)
}

func alexLiesenfeldPeriodic(tb testing.TB, n int) http.Handler {
	var options []alexliesenfeld.CheckerOption
	for i := range n {
		options = append(options, alexliesenfeld.WithPeriodicCheck(time.Hour, 0,
			alexliesenfeld.Check{Name: name(i), Check: pass}))
	}
	return alexLiesenfeldHandler(tb, options)
}

func alexLiesenfeldHandler(tb testing.TB, options []alexliesenfeld.CheckerOption) http.Handler {
	checker := alexliesenfeld.NewChecker(options...)
	tb.Cleanup(checker.Stop)
	h := alexliesenfeld.NewHandler(checker)
	answers(tb, h)
	return h
}

func helloFresh(tb testing.TB, n int) http.Handler {
	h, err := hellofresh.New()
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		if err := h.Register(hellofresh.Config{Name: name(i), Check: pass}); err != nil {
			tb.Fatal(err)
		}
	}
	return h.Handler()
}

func goSundheit(tb testing.TB, n int) http.Handler {
	h := sundheit.New()
	for i := range n {
		check := &sundheitchecks.CustomCheck{
			CheckName: name(i),
			CheckFunc: func(context.Context) (any, error) { return nil, nil },
		}
		if err := h.RegisterCheck(check, sundheit.ExecutionPeriod(time.Hour)); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(h.DeregisterAll)
	handler := sundheithttp.HandleHealthJSON(h)
	answers(tb, handler)
	return handler
}

// answers returns when h answers 200, as it does once all has run in the background.
func answers(tb testing.TB, h http.Handler) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		w := newSink()
		if h.ServeHTTP(w, probe()); w.code == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("answers %d", w.code)
		}
	}
}
