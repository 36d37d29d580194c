// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// BenchmarkServeHTTP2 is the throughput of HTTP/2, through the connection that
// follows the frames, beside net/http's, and what each request allocates beyond it.
func BenchmarkServeHTTP2(b *testing.B) {
	small := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	block := make([]byte, 64<<10)
	large := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 16 {
			w.Write(block)
		}
	})
	for _, bb := range []struct {
		name, proto string
		h           http.Handler
		requests    int
	}{
		{"h2c", "h2c", small, 500},
		{"h2", "h2", small, 500},
		{"h2c, 1 MiB each", "h2c", large, 10},
		{"h2, 1 MiB each", "h2", large, 10},
	} {
		b.Run(bb.name, func(b *testing.B) { serveHTTP2(b, bb.proto, bb.h, bb.requests) })
	}
}

func serveHTTP2(b *testing.B, proto string, h http.Handler, requests int) {
	const streams, rounds = 16, 21
	cert, err := newCertificate()
	if err != nil {
		b.Fatal(err)
	}
	server := func() *http.Server {
		return &http.Server{Handler: h, Protocols: protocols(proto), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	}
	measure := func(addr string) (took time.Duration, mallocs float64) {
		transport := &http.Transport{Protocols: protocols(proto), TLSClientConfig: clientTLS()}
		transport.Protocols.SetHTTP1(false)
		defer transport.CloseIdleConnections()
		get := func(n int) {
			for range n {
				url := map[string]string{"h2": "https://", "h2c": "http://"}[proto] + addr
				resp, err := (&http.Client{Transport: transport}).Get(url)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
		get(10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		t0 := time.Now()
		var group sync.WaitGroup
		for range streams {
			group.Go(func() { get(requests) })
		}
		group.Wait()
		took = time.Since(t0)
		runtime.ReadMemStats(&after)
		return took, float64(after.Mallocs-before.Mallocs) / float64(streams*requests)
	}
	for b.Loop() {
		theirs, s := server(), &drain.Server{HTTP: server(), Floor: -1, Quiet: -1, Linger: -1, Spread: -1}
		compare(b, rival{serveBy(proto, theirs.Serve, theirs.ServeTLS), theirs.Shutdown},
			rival{serveBy(proto, s.Serve, s.ServeTLS), drainer(s)}, rounds, measure)
	}
}

// serveBy returns the one of a server's two functions that serves a protocol.
func serveBy(proto string, plain func(net.Listener) error, encrypted func(net.Listener, string, string) error) func(net.Listener) error {
	if proto != "h2" {
		return plain
	}
	return func(l net.Listener) error { return encrypted(l, "", "") }
}
