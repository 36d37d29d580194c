// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// aCertificate returns one in PEM, valid for an hour.
func aCertificate(t testing.TB) []byte {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// FuzzCertificates has anything in the file, before a certificate that is valid: that one
// is found, or what goes before it is at fault, and less time left is never worse.
func FuzzCertificates(f *testing.F) {
	own := aCertificate(f)
	f.Add([]byte(""), int64(0))
	f.Add(own, int64(time.Minute))
	f.Add(own, int64(2*time.Hour))
	f.Add(own[:len(own)/2], int64(-1))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), int64(0))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\ntext"), int64(1)<<62)
	f.Fuzz(func(t *testing.T, data []byte, left int64) {
		certs, err := parsePEM(data)
		assert.Equal(t, err == nil, len(certs) > 0)
		assert.LessOrEqual(t, len(certs), bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")))
		more, moreErr := parsePEM(append(append(bytes.Clone(data), '\n'), own...))
		if err == nil && bytes.HasSuffix(data, []byte("-----END CERTIFICATE-----\n")) {
			assert.NoError(t, moreErr)
			assert.Len(t, more, len(certs)+1)
		}
		now := time.Now()
		if left > 0 && valid(certs, now, time.Duration(left)) == nil {
			assert.NoError(t, valid(certs, now, time.Duration(left/2)))
			assert.NoError(t, valid(certs, now, 0))
		}
	})
}

// FuzzPassword: no error of HTTP has the password of its URL, whatever else it has.
func FuzzPassword(f *testing.F) {
	f.Add("http", "user", "localhost/", 500)
	f.Add("https", "", "localhost:port/%zz?a=b#c", 0)
	f.Add("", "a:b", "[::1", 200)
	f.Add("ht tp", "user", "\x7f", 302)
	f.Add("http", "us/er", "h", 0)
	const password = "hunter2"
	f.Fuzz(func(t *testing.T, scheme, user, rest string, status int) {
		if strings.Contains(scheme+user+rest, password) || strings.ContainsAny(scheme+user, "/?#:@") {
			return // then it is no password
		}
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if status < 100 || status > 599 {
				return nil, errors.New("refused")
			}
			return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}, Request: r}, nil
		})}
		if err := HTTP(client, scheme+"://"+user+":"+password+"@"+rest)(t.Context()); err != nil {
			assert.NotContains(t, err.Error(), password)
		}
	})
}
