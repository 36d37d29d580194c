// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package checks has ready-made checks on the standard library, for package
// probes.
//
// # Readiness and liveness
//
// Most are readiness checks, for the Func of a [probes.Check]: functions of a
// context that give up when it ends. The timeout is the registry's business. None
// of them fits AddLiveness, and none should: what another process does is no
// reason to restart this one.
//
// A [Local] check looks at this process alone, and fits both.
//
// A client whose ping is a method of a context that returns an error, such as
// PingContext of a [database/sql.DB] or Ping of a pgx pool, needs nothing from
// here: the method is a check.
//
// # Arguments and errors
//
// What a check takes is not looked at before it runs, except by [All], [Any] and
// [AtLeast]. An error says what was asked and never contains a password of a URL.
// Every check may be called from several goroutines at once.
package checks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxConnect bounds the dial of the client that nil means, and its TLS handshake.
// net/http goes on with both when the context of their request has ended, and a server
// that says nothing would keep a goroutine and a descriptor of each run for good.
const maxConnect = 10 * time.Second

// maxBody is how much of an answer is read so that its connection can be used
// again.
const maxBody = 64 << 10

// TCP passes when addr, a host and a port, accepts a connection. The connection
// is closed at once. What cannot be resolved, refuses, or does not answer before
// the context ends is an error.
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

// DNS passes when host, a name or an IP address, resolves to at least one
// address. A name that does not exist, or that nobody answers for, is an error.
// Nil means [net.DefaultResolver].
func DNS(resolver *net.Resolver, host string) func(context.Context) error {
	resolver = cmp.Or(resolver, net.DefaultResolver)
	return func(ctx context.Context) error {
		addrs, err := resolver.LookupNetIP(ctx, "ip", host)
		if err == nil && len(addrs) == 0 {
			err = fmt.Errorf("lookup %s: no address", host)
		}
		return err
	}
}

// HTTP passes when a GET of url is answered with a status of 2xx. It is
// [HTTPStatus] from 200 to 299.
func HTTP(client *http.Client, url string) func(context.Context) error {
	return HTTPStatus(client, url, 200, 299)
}

// newClient returns a client with a connection of its own.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: maxConnect}).DialContext,
			ForceAttemptHTTP2:   true, // which a DialContext turns off
			TLSHandshakeTimeout: maxConnect,
			MaxIdleConns:        1,
			IdleConnTimeout:     90 * time.Second, // or else a check that is not run any more keeps it for good
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// HTTPStatus passes when a GET of url is answered with a status from min to max,
// both included. Another status is an error. Up to 64 KiB of the answer are read,
// so that the connection can be used for the next run; the rest is left. A
// connection that breaks before that is an error, whatever the status.
//
// Nil means a client with a transport of its own, which does not follow
// redirects: a redirect to a login page would end in a 200 that says nothing.
// Another client does as its CheckRedirect says. The status that counts is the
// last one. Between runs the client of nil keeps its connection, with the two
// goroutines that net/http has for it, for 90 s as [http.DefaultTransport] does,
// or until the server closes it; to close it earlier give a client of your own. A
// connection that has not come about when a run ends is given up within 10 s.
func HTTPStatus(client *http.Client, url string, min, max int) func(context.Context) error {
	if client == nil {
		client = newClient()
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil { // which has the URL as it is, with its password
			return errors.New("GET: the URL is not valid")
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
		if resp.StatusCode < min || resp.StatusCode > max {
			return fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
		}
		if err != nil {
			return fmt.Errorf("GET %s: %w", req.URL.Redacted(), err)
		}
		return nil
	}
}

// Redis passes when c answers a ping, as a client of github.com/redis/go-redis
// does; the error is that of the answer. Nil gives nil, which a registry refuses.
func Redis[Answer interface{ Err() error }](c interface{ Ping(context.Context) Answer }) func(context.Context) error {
	if c == nil {
		return nil
	}
	return func(ctx context.Context) error { return c.Ping(ctx).Err() }
}

// serving is SERVING in grpc.health.v1.
const serving = 1

// GRPC passes when c, a HealthClient of google.golang.org/grpc/health/grpc_health_v1
// or what looks like one, answers request with the status SERVING. Another
// status is an error, as in the kubelet, and so is the error of the call: a
// server without the health service, or without the service that is asked for,
// fails. A nil client gives nil, which a registry refuses.
func GRPC[Request, Option any, Status interface {
	~int32
	fmt.Stringer
}, Answer interface{ GetStatus() Status }](
	c interface {
		Check(context.Context, Request, ...Option) (Answer, error)
	}, request Request,
) func(context.Context) error {
	if c == nil {
		return nil
	}
	return func(ctx context.Context) error {
		answer, err := c.Check(ctx, request)
		if err != nil {
			return err
		}
		if status := answer.GetStatus(); status != serving {
			return errors.New("grpc health: " + status.String())
		}
		return nil
	}
}
