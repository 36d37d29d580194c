// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	alexliesenfeld "github.com/alexliesenfeld/health"
	hellofresh "github.com/hellofresh/health-go/v5"
	heptiolabs "github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes"
)

// takes is how long the check takes that many probes ask for at once.
const takes = 50 * time.Millisecond

// A service is asked by a check, and counts how often.
type service struct{ calls atomic.Int64 }

func (s *service) check(context.Context) error {
	s.calls.Add(1)
	time.Sleep(takes)
	return nil
}

// A slowPeer makes the readiness handler of a library whose one check has not run
// yet, and is run when a probe asks.
type slowPeer struct {
	name   string
	probes []int
	make   func(tb testing.TB, s *service) (h http.Handler, end func())
}

// With a lock around the run a thousand probes take as many runs one after the other,
// 50 s; so those are asked by fewer.
var slowPeers = []slowPeer{
	{"lameduck", []int{8, 100, 1000}, slowLameduck},
	{"alexliesenfeld", []int{8, 100, 1000}, slowAlexLiesenfeld},
	{"alexliesenfeld-uncached", []int{8, 100}, slowAlexLiesenfeldUncached},
	{"hellofresh", []int{8, 100}, slowHelloFresh},
	{"heptiolabs", []int{8, 100, 1000}, slowHeptioLabs},
}

// BenchmarkConcurrentProbes is a burst of probes of a check that takes 50 ms: how
// often it is run, and how long the one waits that waits longest.
func BenchmarkConcurrentProbes(b *testing.B) {
	for _, p := range slowPeers {
		for _, n := range p.probes {
			b.Run(fmt.Sprintf("probes=%d/%s", n, p.name), func(b *testing.B) {
				var s service
				var longest time.Duration
				bursts := 0
				for b.Loop() {
					b.StopTimer()
					h, end := p.make(b, &s)
					b.StartTimer()
					longest = max(longest, burst(b, h, n))
					bursts++
					b.StopTimer()
					end()
					b.StartTimer()
				}
				b.ReportMetric(float64(s.calls.Load())/float64(bursts), "runs/burst")
				b.ReportMetric(float64(longest)/float64(time.Millisecond), "worst-ms")
			})
		}
	}
}

// burst has h answer n probes at once, and returns how long it takes to answer the
// last one.
func burst(tb testing.TB, h http.Handler, n int) time.Duration {
	var ready, done sync.WaitGroup
	var bad atomic.Int64
	gate := make(chan struct{})
	ready.Add(n)
	for range n {
		done.Go(func() {
			w, r := newSink(), probe()
			ready.Done()
			<-gate
			if h.ServeHTTP(w, r); w.code != http.StatusOK {
				bad.Add(1)
			}
		})
	}
	ready.Wait()
	began := time.Now()
	close(gate)
	done.Wait()
	if bad.Load() > 0 {
		tb.Errorf("%d of %d were not answered 200", bad.Load(), n)
	}
	return time.Since(began)
}

func slowLameduck(tb testing.TB, s *service) (http.Handler, func()) {
	r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	if err := r.AddReadiness(probes.Check{Name: "slow", Func: s.check, TTL: time.Second}); err != nil {
		tb.Fatal(err)
	}
	r.Started()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	running := make(chan struct{})
	// Run has begun when it runs a check of liveness.
	if err := r.AddLiveness("running", sync.OnceValue(func() error { close(running); return nil })); err != nil {
		tb.Fatal(err)
	}
	go func() { ran <- r.Run(ctx) }()
	<-running
	return r.ReadyHandler(), func() {
		cancel()
		if err := <-ran; err != nil {
			tb.Error(err)
		}
	}
}

// slowAlexLiesenfeld has the cache that is the default, of a second.
func slowAlexLiesenfeld(_ testing.TB, s *service) (http.Handler, func()) {
	return slowAlexLiesenfeldWith(s)
}

func slowAlexLiesenfeldUncached(_ testing.TB, s *service) (http.Handler, func()) {
	return slowAlexLiesenfeldWith(s, alexliesenfeld.WithDisabledCache())
}

// It is not started, or else it would run the check once before a probe asks.
func slowAlexLiesenfeldWith(s *service, options ...alexliesenfeld.CheckerOption) (http.Handler, func()) {
	options = append(options, alexliesenfeld.WithDisabledAutostart(),
		alexliesenfeld.WithCheck(alexliesenfeld.Check{Name: "slow", Check: s.check}))
	return alexliesenfeld.NewHandler(alexliesenfeld.NewChecker(options...)), func() {}
}

func slowHelloFresh(tb testing.TB, s *service) (http.Handler, func()) {
	h, err := hellofresh.New()
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.Register(hellofresh.Config{Name: "slow", Check: s.check}); err != nil {
		tb.Fatal(err)
	}
	return h.Handler(), func() {}
}

func slowHeptioLabs(_ testing.TB, s *service) (http.Handler, func()) {
	h := heptiolabs.NewHandler()
	h.AddReadinessCheck("slow", func() error { return s.check(context.Background()) })
	return http.HandlerFunc(h.ReadyEndpoint), func() {}
}

// TestSlowPeers makes sure that what is measured is what is meant.
func TestSlowPeers(t *testing.T) {
	for _, p := range slowPeers {
		t.Run(p.name, func(t *testing.T) {
			var s service
			h, end := p.make(t, &s)
			if took := burst(t, h, 2); took < takes {
				t.Errorf("answered in %v, without asking", took)
			}
			if n := s.calls.Load(); n < 1 || n > 2 {
				t.Errorf("the check was run %d times", n)
			}
			end()
		})
	}
}
