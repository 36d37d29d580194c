// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// newCertificate returns a self-signed one.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"test"}, NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	cert, err := newCertificate()
	require.NoError(t, err)
	return cert
}

// startTLS is start for a server that speaks TLS.
func startTLS(t *testing.T, srv *drain.Server, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv, l: memnet.Listen(), served: make(chan error, 1)}
	srv.HTTP = &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}}
	go func() { r.served <- srv.ServeTLS(r.l, "", "") }()
	synctest.Wait()
	return r
}

func clientTLS() *tls.Config { return &tls.Config{ServerName: "test", InsecureSkipVerify: true} }

func (r *rig) dialTLS() *client {
	r.t.Helper()
	nc, err := r.l.Dial(r.t.Context())
	require.NoError(r.t, err)
	tc := tls.Client(nc, clientTLS())
	require.NoError(r.t, tc.HandshakeContext(r.t.Context()))
	return &client{r.t, tc, bufio.NewReader(tc)}
}

func hasTLS(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		assert.NotNil(t, r.TLS)
		ok(w, r)
	}
}

func TestTLSConnectionsLingerAndAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{Floor: time.Second}, hasTLS(t))
		talks, idle := r.dialTLS(), r.dialTLS()
		assert.False(t, talks.get("/").Close)
		idle.get("/")
		time.AfterFunc(1500*time.Millisecond, func() {
			assert.True(t, talks.get("/").Close)
			talks.waitClosed(time.Now()) // the pipe has no buffer: a close_notify has to be read
		})
		closed := make(chan time.Duration, 1)
		t0 := time.Now()
		go func() { closed <- idle.waitClosed(t0) }() // EOF: with a close_notify
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Idle)
		assert.GreaterOrEqual(t, took, drain.DefaultLinger*4/5)
		assert.LessOrEqual(t, took, drain.DefaultLinger+40*time.Millisecond)
		assert.LessOrEqual(t, <-closed, took)
	})
}

// A client that has shaken hands and then says nothing is silent, although bytes
// have come in.
func TestTLSHandshakeIsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{}, hasTLS(t))
		c := r.dialTLS()
		go io.Copy(io.Discard, c)
		synctest.Wait() // the server has its part of the handshake
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 1, report.Silent)
		assert.LessOrEqual(t, took, drain.DefaultSilent+40*time.Millisecond)
	})
}

// An idle HTTP/2 connection is Shutdown's to end: neither one that has never
// brought a request nor one beside a last HTTP/1.1 request may hold the drain.
func TestIdleHTTP2DoesNotHoldTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{Quiet: -1}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.Header().Set("Connection", "close")
			ok(w, r)
		})
		nc, err := r.l.Dial(t.Context())
		require.NoError(t, err)
		config := clientTLS()
		config.NextProtos = []string{"h2"}
		h2 := tls.Client(nc, config)
		require.NoError(t, h2.HandshakeContext(t.Context()))
		go io.Copy(io.Discard, h2)
		// The preface, and an empty SETTINGS frame.
		io.WriteString(h2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		synctest.Wait()
		h1 := r.dialTLS()
		go func() {
			h1.get("/")
			h1.waitClosed(time.Now())
		}()
		synctest.Wait()
		_, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, took, time.Second)
		assert.Less(t, took, 4*time.Second, "the request, and Shutdown's second for a GOAWAY")
	})
}

func TestHTTP2IsServedAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startTLS(t, &drain.Server{Floor: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, 2, r.ProtoMajor)
			if r.URL.Path == "/slow" {
				time.Sleep(5 * time.Second)
			}
			ok(w, r)
		})
		transport := &http.Transport{
			TLSClientConfig:   clientTLS(),
			ForceAttemptHTTP2: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return r.l.Dial(ctx) },
		}
		defer transport.CloseIdleConnections()
		get := func(path string) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "https://test"+path, nil)
			require.NoError(t, err)
			resp, err := transport.RoundTrip(req)
			if assert.NoError(t, err) {
				resp.Body.Close()
				assert.Equal(t, 200, resp.StatusCode)
			}
		}
		get("/")
		go get("/slow")
		synctest.Wait()
		time.AfterFunc(700*time.Millisecond, func() { get("/in the accept window") })
		time.AfterFunc(3*time.Second, func() {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://test/", nil)
			_, err := transport.RoundTrip(req)
			assert.ErrorIs(t, err, net.ErrClosed, "the client dials anew, and would be sent elsewhere")
		})
		report, took, err := r.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Empty(t, report.Cut)
		assert.GreaterOrEqual(t, took, 5*time.Second, "the slow stream is waited for")
		assert.Less(t, took, 8*time.Second)
	})
}
