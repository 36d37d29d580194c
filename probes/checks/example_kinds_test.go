// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

// A service that answers 401 without a password is there.
func ExampleHTTPStatus() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer api.Close()

	check := checks.HTTPStatus(api.Client(), api.URL, 200, 499)
	fmt.Println(check(context.Background()))
	// Output: <nil>
}

// A certificate that is renewed too late is seen a week before it expires.
func ExampleTLS() {
	api := httptest.NewTLSServer(http.NotFoundHandler())
	defer api.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(api.Certificate())

	check := checks.TLS(&tls.Config{RootCAs: trusted}, api.Listener.Addr().String(), 7*24*time.Hour)
	fmt.Println(check(context.Background()))
	// Output: <nil>
}

// One name for what is of use only together.
func ExampleAll() {
	storage := probes.Check{Name: "storage", Func: checks.All(
		checks.DiskFree(".", 1),      // bytes
		checks.DNS(nil, "127.0.0.1"), // an address needs no name server
	)}
	fmt.Println(storage.Func(context.Background()))
	// Output: <nil>
}

// A secret that is mounted late.
func ExampleFile() {
	fmt.Println(checks.File(".")(context.Background()))
	err := checks.File("testdata/no such secret")(context.Background())
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// <nil>
	// true
}

// Long pauses say that the process is short of memory or of processors.
func ExampleGCPause() {
	var registry probes.Registry
	err := registry.AddReadiness(probes.Check{Name: "gc", Func: checks.GCPause(time.Minute).Check, Optional: true})
	fmt.Println(err)
	// Output: <nil>
}
