// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/probes"
)

const (
	rate   = 10_000 // probes per second, in all
	conns  = 16
	lasts  = 3 * time.Second
	checks = 100
)

// BenchmarkProbesPerSecond is ten thousand probes per second for three seconds,
// over connections that are kept, of a service in trouble: of its hundred checks one
// hangs, one panics and one is now up, now down. Beside it, a constant answer to the
// same clients.
func BenchmarkProbesPerSecond(b *testing.B) {
	b.Run("constant", func(b *testing.B) { load(b, constant(b, 0)) })
	b.Run("lameduck", func(b *testing.B) {
		r, end := troubled(b)
		load(b, r.ReadyHandler())
		end()
	})
}

// BenchmarkReadyBesideAHang is a readiness probe of a hundred checks, of which one
// hangs or none does.
func BenchmarkReadyBesideAHang(b *testing.B) {
	for _, hung := range []bool{false, true} {
		b.Run(fmt.Sprintf("hung=%v", hung), func(b *testing.B) {
			r := &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
			for i := range checks - 1 {
				add(b, r, probes.Check{Name: name(i), Func: pass, Interval: time.Hour})
			}
			release := make(chan struct{})
			add(b, r, probes.Check{Name: "hangs", Optional: true, Interval: time.Hour, Func: func(context.Context) error {
				if hung {
					<-release
				}
				return nil
			}})
			run(b, r)
			h, w, req := r.ReadyHandler(), newSink(), probe()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, req)
			}
			if w.code != http.StatusOK || r.Status().Reason == "" == hung {
				b.Errorf("answered %d, %s", w.code, r.Status().Reason)
			}
			close(release)
		})
	}
}

func add(tb testing.TB, r *probes.Registry, c probes.Check) {
	if err := r.AddReadiness(c); err != nil {
		tb.Fatal(err)
	}
}

// troubled returns a registry that runs until end is called. Its timeouts are long, so
// that a machine that is short of time makes no answer wrong.
func troubled(tb testing.TB) (r *probes.Registry, end func()) {
	r = &probes.Registry{Logger: slog.New(slog.DiscardHandler)}
	for i := range checks - 3 {
		add(tb, r, probes.Check{Name: name(i), Func: pass, Interval: 100 * time.Millisecond, Timeout: time.Minute})
	}
	release := make(chan struct{})
	calls := 0
	add(tb, r, probes.Check{Name: "hangs", Optional: true, Func: func(context.Context) error { <-release; return nil }})
	add(tb, r, probes.Check{Name: "panics", Optional: true, Interval: 100 * time.Millisecond, Timeout: time.Minute, Func: func(context.Context) error { panic("bug") }})
	add(tb, r, probes.Check{Name: "flaps", Interval: 10 * time.Millisecond, Timeout: time.Minute, Func: func(context.Context) error {
		if calls++; calls%2 == 0 {
			return errors.New("down")
		}
		return nil
	}})
	r.Started()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	for s := range r.Watch(ctx) {
		if s.Ready {
			break
		}
	}
	return r, func() {
		cancel()
		if err := <-ran; err != nil {
			tb.Error(err)
		}
		close(release)
	}
}

// load sends probes at the rate over kept connections, and reports how long the
// answers took, from when a probe was sent.
func load(b *testing.B, h http.Handler) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	var took []time.Duration
	answers := make(map[string]int)
	for b.Loop() {
		var wg sync.WaitGroup
		var mu sync.Mutex
		began := time.Now()
		for i := range conns {
			wg.Go(func() {
				c, err := newClient(srv.Listener.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer c.conn.Close()
				const step = conns * time.Second / rate
				for due := began.Add(step * time.Duration(i) / conns); due.Sub(began) < lasts; due = due.Add(step) {
					time.Sleep(time.Until(due))
					if err := c.ask(); err != nil {
						b.Error(err)
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, c.took...)
				for answer, n := range c.answers {
					answers[answer] += n
				}
			})
		}
		wg.Wait()
	}
	for answer := range answers {
		switch answer {
		case "200 ok\n", "200 ok, degraded: hangs, panics\n", "503 not ready: flaps\n":
		default:
			b.Errorf("answered %q", answer)
		}
	}
	slices.Sort(took)
	us := func(share float64) float64 {
		return float64(took[int(float64(len(took)-1)*share)]) / float64(time.Microsecond)
	}
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "probes/s")
	b.ReportMetric(us(0.5), "p50-µs")
	b.ReportMetric(us(0.99), "p99-µs")
	b.ReportMetric(us(1), "max-µs")
	b.ReportMetric(0, "ns/op") // which is how long it lasts
}

// A client probes on one connection, which is kept.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	took    []time.Duration
	answers map[string]int
}

func newClient(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReader(conn), answers: make(map[string]int)}, nil
}

func (c *client) ask() error {
	sent := time.Now()
	if _, err := io.WriteString(c.conn, "GET /readyz HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.37\r\nAccept: */*\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	c.took = append(c.took, time.Since(sent))
	c.answers[fmt.Sprintf("%d %s", resp.StatusCode, body)]++
	return nil
}
