// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// BenchmarkBookkeeping is what a request costs beyond net/http: the lookup of its
// connection, the notes at its begin and end, and that of the idle connection.
func BenchmarkBookkeeping(b *testing.B) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	srv := &Server{HTTP: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	srv.prepare.Do(srv.wrap)
	c := srv.track(ours, false)
	// The contexts of a request as net/http nests them.
	ctx := srv.HTTP.ConnContext(context.WithValue(b.Context(), http.ServerContextKey, srv.HTTP), c)
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, ours.LocalAddr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://test/work", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		srv.HTTP.ConnState(c, http.StateActive)
		srv.HTTP.Handler.ServeHTTP(nil, r)
		srv.HTTP.ConnState(c, http.StateIdle)
	}
}
