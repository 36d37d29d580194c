// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package checks has ready-made readiness checks on the standard library. Each
// is a function for the Func of a Check of package probes, and gives up when its
// context ends; the timeout is the registry's business.
//
// None of them fits AddLiveness, and none should: what another process does is
// no reason to restart this one.
package checks

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// maxBody is how much of an answer is read so that its connection can be used
// again.
const maxBody = 64 << 10

// TCP passes when addr, a host and a port, accepts a connection. The connection
// is closed at once.
func TCP(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// HTTP passes when a GET of url is answered with a status of 2xx. Up to 64 KiB of
// the answer are read, and a connection that breaks before that is a failure.
//
// Nil means a client with a transport of its own, which does not follow
// redirects: a redirect to a login page would end in a 200 that says nothing.
// Another client does as its CheckRedirect says; a redirect it does not follow is
// a failure.
func HTTP(client *http.Client, url string) func(context.Context) error {
	if client == nil {
		client = &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
		}
		if err != nil {
			return fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
		}
		return nil
	}
}

// Ping passes when p answers a ping, as a [*database/sql.DB] does.
func Ping(p interface{ PingContext(context.Context) error }) func(context.Context) error {
	return p.PingContext
}
