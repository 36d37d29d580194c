// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes/checks"
)

// certify makes a certificate for 127.0.0.1 that signs itself.
func certify(t *testing.T, name string, from, to time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    from,
		NotAfter:     to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestCertificate(t *testing.T) {
	now := time.Now()
	hour, day := now.Add(time.Hour), now.Add(24*time.Hour)
	good := pemOf("CERTIFICATE", certify(t, "good", now.Add(-time.Hour), day).Certificate[0])
	soon := pemOf("CERTIFICATE", certify(t, "soon", now.Add(-time.Hour), hour).Certificate[0])
	gone := pemOf("CERTIFICATE", certify(t, "gone", now.Add(-2*time.Hour), now.Add(-time.Hour)).Certificate[0])
	early := pemOf("CERTIFICATE", certify(t, "early", hour, day).Certificate[0])
	key := pemOf("PRIVATE KEY", []byte("secret"))
	chain := func(blocks ...[]byte) (file []byte) {
		for _, b := range blocks {
			file = append(file, b...)
		}
		return file
	}
	for _, tt := range []struct {
		name string
		file []byte
		left time.Duration
		want string
	}{
		{"good", good, 2 * time.Hour, ""},
		{"good, with its key", chain(key, good), 2 * time.Hour, ""},
		{"soon", soon, 0, ""},
		{"soon, too late", soon, 2 * time.Hour, `certificate "CN=soon" expires at ` + hour.UTC().Format(time.RFC3339) + ", in less than 2h0m0s"},
		{"one of two soon", chain(good, soon), 2 * time.Hour, "CN=soon"},
		{"gone", gone, 0, `certificate "CN=gone" has expired at `},
		{"early", early, 0, `certificate "CN=early" is not valid before `},
		{"only a key", key, 0, "no certificate in it"},
		{"nothing", nil, 0, "no certificate in it"},
		{"not one", pemOf("CERTIFICATE", []byte("no")), 0, "x509: malformed certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tls.crt")
			require.NoError(t, os.WriteFile(path, tt.file, 0o600))
			err := checks.Certificate(path, tt.left)(t.Context())
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, path+": ")
				assert.ErrorContains(t, err, tt.want)
			}
		})
	}
	assert.ErrorIs(t, checks.Certificate(filepath.Join(t.TempDir(), "none"), 0)(t.Context()), fs.ErrNotExist)
}

func TestCertificateIsReadAtEachRun(t *testing.T) {
	now := time.Now()
	path := filepath.Join(t.TempDir(), "tls.crt")
	check := checks.Certificate(path, 0)
	write := func(to time.Time) {
		require.NoError(t, os.WriteFile(path, pemOf("CERTIFICATE", certify(t, "c", now.Add(-time.Hour), to).Certificate[0]), 0o600))
	}
	write(now.Add(-time.Minute))
	assert.ErrorContains(t, check(t.Context()), "has expired")
	write(now.Add(time.Hour)) // renewed
	assert.NoError(t, check(t.Context()))
}

func TestTLS(t *testing.T) {
	now := time.Now()
	cert := certify(t, "server", now.Add(-time.Hour), now.Add(time.Hour))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	require.NoError(t, err)
	served := make(chan int)
	go func() {
		conns := 0
		defer func() { served <- conns }()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns++
			conn.(*tls.Conn).Handshake()
			conn.Read(make([]byte, 1)) // returns when the check has closed
			conn.Close()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	trusting, addr := &tls.Config{RootCAs: roots}, l.Addr().String()

	assert.NoError(t, checks.TLS(trusting, addr, time.Minute)(t.Context()))
	assert.ErrorContains(t, checks.TLS(trusting, addr, 2*time.Hour)(t.Context()), addr+`: certificate "CN=server" expires at `)
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, checks.TLS(nil, addr, 0)(t.Context()), &unknown)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, checks.TLS(trusting, addr, 0)(ctx), context.Canceled)
	l.Close()
	assert.Equal(t, 3, <-served)
	assert.ErrorContains(t, checks.TLS(trusting, addr, 0)(t.Context()), "refused")
}

func TestTLSEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // a server that never says hello
		conn, err := l.Accept()
		if assert.NoError(t, err) {
			conn.Read(make([]byte, 1))
			cancel()
			conn.Read(make([]byte, 1<<10))
			conn.Close()
		}
	}()
	assert.ErrorIs(t, checks.TLS(nil, l.Addr().String(), 0)(ctx), context.Canceled)
}
