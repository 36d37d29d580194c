// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// The benchmarks here stand beside their rival: both run in turn in each round,
// and the metric is the median of the rounds' ratios, or both medians. One
// iteration is all the rounds, so they want -benchtime=1x.

// A rival is a way of serving and of ending.
type rival struct {
	serve func(net.Listener) error
	end   func(context.Context) error
}

func plain(h http.Handler) rival {
	s := &http.Server{Handler: h}
	return rival{s.Serve, s.Shutdown}
}

func ours(h http.Handler) rival {
	s := &drain.Server{HTTP: &http.Server{Handler: h}, Floor: -1, Quiet: -1, Linger: -1}
	return rival{s.Serve, drainer(s)}
}

func drainer(s *drain.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.Drain(ctx)
		return err
	}
}

// start serves on a loopback socket.
func (r rival) start(b *testing.B) (addr string, end func() time.Duration) {
	b.Helper()
	l, err := drain.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.serve(l) }()
	return l.Addr().String(), func() time.Duration {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		t0 := time.Now()
		r.end(ctx)
		took := time.Since(t0)
		<-served
		return took
	}
}

// A kept is a connection that is kept alive, and the bytes of its request.
type kept struct {
	net.Conn
	br      *bufio.Reader
	request []byte
}

func dialKept(b *testing.B, addr, path string) *kept {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return &kept{nc, bufio.NewReaderSize(nc, 64<<10), fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path)}
}

// get sends n requests, one after the other, and reads the answers, each of which
// has a length below that of the reader's buffer or a known number of bytes.
func (k *kept) get(n int) error {
	for range n {
		if _, err := k.Write(k.request); err != nil {
			return err
		}
		if err := k.answer(); err != nil {
			return err
		}
	}
	return nil
}

// answer reads an answer without allocating.
func (k *kept) answer() error {
	length := 0
	for {
		line, err := k.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if rest, ok := cutPrefix(line, "Content-Length: "); ok {
			length = 0
			for _, c := range rest[:len(rest)-2] {
				length = length*10 + int(c-'0')
			}
		}
	}
	_, err := k.br.Discard(length)
	return err
}

func cutPrefix(line []byte, prefix string) ([]byte, bool) {
	if len(line) < len(prefix) || string(line[:len(prefix)]) != prefix {
		return nil, false
	}
	return line[len(prefix):], true
}

func median[T int64 | float64 | time.Duration](all []T) T {
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// BenchmarkServe is the throughput of keep-alive requests beside net/http's, and
// what each request allocates beyond it.
func BenchmarkServe(b *testing.B) {
	const conns, requests, rounds = 8, 2000, 21
	small := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	for b.Loop() {
		measure := func(addr string) (took time.Duration, mallocs float64) {
			var all []*kept
			for range conns {
				k := dialKept(b, addr, "/work")
				if err := k.get(10); err != nil {
					b.Fatal(err)
				}
				all = append(all, k)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			t0 := time.Now()
			var group sync.WaitGroup
			for _, k := range all {
				group.Go(func() {
					if err := k.get(requests); err != nil {
						b.Error(err)
					}
					k.Close()
				})
			}
			group.Wait()
			took = time.Since(t0)
			runtime.ReadMemStats(&after)
			return took, float64(after.Mallocs-before.Mallocs) / (conns * requests)
		}
		compare(b, plain(small), ours(small), rounds, measure)
	}
}

// compare reports the throughput of ours beside that of theirs, and what a request
// allocates more. They take turns at being first.
func compare(b *testing.B, theirs, ours rival, rounds int, measure func(addr string) (time.Duration, float64)) {
	b.Helper()
	rivalAddr, endRival := theirs.start(b)
	oursAddr, endOurs := ours.start(b)
	var ratios, extra []float64
	for i := range rounds {
		var took [2]time.Duration
		var mallocs [2]float64
		for j := range 2 {
			which := (i + j) % 2
			took[which], mallocs[which] = measure([2]string{rivalAddr, oursAddr}[which])
		}
		ratios = append(ratios, float64(took[0])/float64(took[1]))
		extra = append(extra, mallocs[1]-mallocs[0])
	}
	endRival()
	endOurs()
	b.ReportMetric(median(ratios), "throughput/net-http")
	b.ReportMetric(median(extra), "extra-allocs/request")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkServeFile is the same for a file of 1 MB, which net/http sends by
// sendfile.
func BenchmarkServeFile(b *testing.B) {
	const requests, rounds = 300, 11
	name := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	file := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })
	for b.Loop() {
		measure := func(addr string) time.Duration {
			k := dialKept(b, addr, "/file")
			defer k.Close()
			t0 := time.Now()
			if err := k.get(requests); err != nil {
				b.Fatal(err)
			}
			return time.Since(t0)
		}
		rivalAddr, endRival := plain(file).start(b)
		oursAddr, endOurs := ours(file).start(b)
		var ratios []float64
		for range rounds {
			r := measure(rivalAddr)
			ratios = append(ratios, float64(r)/float64(measure(oursAddr)))
		}
		endRival()
		endOurs()
		b.ReportMetric(median(ratios), "throughput/net-http")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkWake is the time from the end of the last request until the server's
// end is known, beside that of http.Server.Shutdown, which polls.
func BenchmarkWake(b *testing.B) {
	const rounds = 21
	for b.Loop() {
		measure := func(of func(http.Handler) rival) time.Duration {
			entered, release := make(chan struct{}), make(chan struct{})
			addr, end := of(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close")
				close(entered)
				<-release
			})).start(b)
			k := dialKept(b, addr, "/")
			defer k.Close()
			go k.Write(k.request)
			<-entered
			ended := make(chan time.Time, 1)
			go func() { end(); ended <- time.Now() }()
			// The request outlasts the first, quick polls of Shutdown.
			time.Sleep(600 * time.Millisecond)
			last := time.Now()
			close(release)
			if err := k.answer(); err != nil {
				b.Fatal(err)
			}
			k.Close()
			return (<-ended).Sub(last)
		}
		var r, o []time.Duration
		for range rounds {
			r = append(r, measure(plain))
			o = append(o, measure(ours))
		}
		report(b, o, r)
	}
}

// BenchmarkSilent is the time that one connection without a byte holds the end,
// beside that of http.Server.Shutdown; the configured wait is 2 s.
func BenchmarkSilent(b *testing.B) {
	for b.Loop() {
		measure := func(of func(http.Handler) rival) time.Duration {
			addr, end := of(http.NotFoundHandler()).start(b)
			k := dialKept(b, addr, "/")
			defer k.Close()
			other := dialKept(b, addr, "/") // once it is answered, the first is accepted
			if err := other.get(1); err != nil {
				b.Fatal(err)
			}
			other.Close()
			return end()
		}
		var r, o []time.Duration
		for range 3 {
			r = append(r, measure(plain))
			o = append(o, measure(ours))
		}
		report(b, o, r)
	}
}

// BenchmarkHijacked is the time that a hijacked connection whose handler works for
// another second is waited for; http.Server.Shutdown returns at once.
func BenchmarkHijacked(b *testing.B) {
	for b.Loop() {
		measure := func(of func(http.Handler) rival) time.Duration {
			entered := make(chan struct{})
			addr, end := of(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				nc, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					b.Error(err)
					return
				}
				close(entered)
				time.Sleep(time.Second)
				nc.Close()
			})).start(b)
			k := dialKept(b, addr, "/")
			defer k.Close()
			k.Write(k.request)
			<-entered
			return end()
		}
		var r, o []time.Duration
		for range 3 {
			r = append(r, measure(plain))
			o = append(o, measure(ours))
		}
		report(b, o, r)
	}
}

// report reports the medians of both.
func report(b *testing.B, ours, rival []time.Duration) {
	b.ReportMetric(median(ours).Seconds()*1000, "ms")
	b.ReportMetric(median(rival).Seconds()*1000, "Shutdown-ms")
	b.ReportMetric(0, "ns/op")
}
