// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// Certificate passes when every certificate in the PEM file at path, which is read
// at each run, is valid now and for at least the time left. One that is not yet
// valid, is expired or will be by then is an error; so is a file that cannot be
// read, holds no certificate, or holds one that cannot be parsed. Who has
// issued them is not looked at. Zero or negative left means now only.
func Certificate(path string, left time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		certs, err := parsePEM(data)
		if err == nil {
			err = valid(certs, time.Now(), left)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
}

// TLS passes when addr, a host and a port, completes a TLS handshake, and every
// certificate that it shows is valid for at least the time left, as in
// [Certificate]. What makes a handshake fail is an error: a certificate that
// config does not trust, for one. Nil means a zero config; a ServerName that is
// empty means the host of addr. The connection is closed at once.
func TLS(config *tls.Config, addr string, left time.Duration) func(context.Context) error {
	d := &tls.Dialer{Config: config}
	return func(ctx context.Context) error {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := valid(conn.(*tls.Conn).ConnectionState().PeerCertificates, time.Now(), left); err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
		return nil
	}
}

// parsePEM returns the certificates of a PEM file.
func parsePEM(data []byte) (certs []*x509.Certificate, err error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return certs, nil
}

// valid returns an error if one of certs is not valid from now until left later.
func valid(certs []*x509.Certificate, now time.Time, left time.Duration) error {
	for _, cert := range certs {
		name := cert.Subject.String()
		switch {
		case now.Before(cert.NotBefore):
			return fmt.Errorf("certificate %q is not valid before %s", name, cert.NotBefore.UTC().Format(time.RFC3339))
		case !now.Before(cert.NotAfter):
			return fmt.Errorf("certificate %q has expired at %s", name, cert.NotAfter.UTC().Format(time.RFC3339))
		case now.Add(left).After(cert.NotAfter):
			return fmt.Errorf("certificate %q expires at %s, in less than %v", name, cert.NotAfter.UTC().Format(time.RFC3339), left)
		}
	}
	return nil
}
