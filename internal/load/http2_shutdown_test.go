// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/stall"
)

// A fleet is servers of which the last one started is the one that is dialled.
type fleet struct {
	t       *testing.T
	proto   string
	handler http.HandlerFunc
	ends    sync.WaitGroup

	mu      sync.Mutex
	current *http.Server // guarded by mu, as is addr, which is its
	addr    string
}

// start starts the next server, and returns the one before.
func (f *fleet) start() (old *http.Server) {
	f.t.Helper()
	s := &http.Server{
		Handler:   f.handler,
		Protocols: new(http.Protocols),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(f.t)}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	s.Protocols.SetHTTP1(f.proto != "h2" && f.proto != "h2c")
	s.Protocols.SetHTTP2(f.proto == "h2")
	s.Protocols.SetUnencryptedHTTP2(f.proto == "h2c")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f.t, err)
	f.ends.Go(func() {
		var err error
		if f.proto == "h2" || f.proto == "http/1.1 over TLS" {
			err = s.ServeTLS(l, "", "")
		} else {
			err = s.Serve(l)
		}
		assert.ErrorIs(f.t, err, http.ErrServerClosed)
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	old, f.current, f.addr = f.current, s, l.Addr().String()
	return old
}

// replace starts the next server, and shuts the one before down in the meantime.
func (f *fleet) replace() {
	old := f.start()
	f.ends.Go(func() { assert.NoError(f.t, old.Shutdown(context.WithoutCancel(f.t.Context()))) })
}

func (f *fleet) stop() {
	f.current.Close()
	f.ends.Wait()
}

func (f *fleet) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	addr := f.addr
	f.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// An echo answers with what it is sent, as it comes, and knows what it has seen.
type echo struct {
	mu   sync.Mutex
	seen map[string]int // how often, by the id; guarded by mu
}

func (e *echo) serve(w http.ResponseWriter, r *http.Request) {
	id := make([]byte, idLen)
	if _, err := io.ReadFull(r.Body, id); err != nil {
		return
	}
	e.mu.Lock()
	e.seen[string(id)]++
	e.mu.Unlock()
	w.Write(id)
	http.NewResponseController(w).Flush()
	io.Copy(w, r.Body)
}

// certificate returns a self-signed one.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A tally is what has become of the requests of several clients.
type tally struct {
	mu     sync.Mutex
	counts [Causes]int // guarded by mu, as is first
	first  error       // of those that are lost
}

func (t *tally) record(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[r.Cause]++
	if t.first == nil {
		t.first = r.Err
	}
}

func (t *tally) lost() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.counts[OK+1:] {
		n += m
	}
	return n
}

// TestHTTP2Shutdown shows that these clients see what a Shutdown loses, with its
// single GOAWAY, and that they lose nothing to a server that stays: otherwise a
// zero of theirs would mean nothing.
func TestHTTP2Shutdown(t *testing.T) {
	for _, tt := range []struct {
		name    string
		clients int
		kind    Kind
	}{
		{"h2c, 100 streaming", 1, Kind{Proto: "h2c", Streams: 100, Streaming: true}},
		{"h2c, 4 streaming", 10, Kind{Proto: "h2c", Streams: 4, Streaming: true}},
		{"h2, 100 streaming", 1, Kind{Proto: "h2", Streams: 100, Streaming: true}},
		{"h2, 4 unary", 10, Kind{Proto: "h2", Streams: 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("stays", func(t *testing.T) { shutdown(t, tt.kind, tt.clients, 0) })
			t.Run("leaves", func(t *testing.T) { shutdown(t, tt.kind, tt.clients, 20) })
		})
	}
}

// shutdown shuts servers down under load, and expects a loss if most is not 0. One that
// stays closes a connection all the same if it gets no SETTINGS for two seconds, so if
// this process stood still for as long nobody is to blame, and it is to be seen once more.
func shutdown(t *testing.T, kind Kind, clients, most int) {
	for left := 5; ; left-- {
		longest := stall.Watch()
		lost := shutdownOnce(t, kind, clients, most)
		late := longest()
		if lost > 0 && most == 0 && late > time.Second && left > 0 {
			t.Logf("once more, because this process was kept from running for %v", late)
			continue
		}
		assert.Equal(t, most > 0, lost > 0)
		return
	}
}

// shutdownOnce shuts three servers down under load, and then on until there is a loss, but
// no more than most. It returns how many requests were lost.
func shutdownOnce(t *testing.T, kind Kind, clients, most int) (lost int) {
	const settle = 150 * time.Millisecond
	e := &echo{seen: make(map[string]int)}
	f := &fleet{t: t, proto: kind.Proto, handler: e.serve}
	f.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tally tally
	var running sync.WaitGroup
	for range clients {
		c := &Client{Kind: kind, Path: "/", Dial: f.dial, Record: tally.record, Spread: settle / 3}
		running.Go(func() { c.Run(ctx) })
	}
	n := 0
	for time.Sleep(settle); n < min(most, 3) || n < most && tally.lost() == 0; n++ {
		f.replace()
		time.Sleep(settle)
	}
	cancel()
	running.Wait()
	f.stop()

	answered := tally.counts[OK]
	lost = tally.lost()
	t.Logf("%d terminations: %d answered, %d lost, by cause %v, the first by %q; the servers have seen %d",
		n, answered, lost, tally.counts[OK+1:], fmt.Sprint(tally.first), len(e.seen))
	assert.Positive(t, answered)
	assert.GreaterOrEqual(t, len(e.seen), answered)
	assert.LessOrEqual(t, len(e.seen), answered+lost)
	for id, n := range e.seen {
		assert.Equal(t, 1, n, "%s was sent again", id)
	}
	return lost
}
