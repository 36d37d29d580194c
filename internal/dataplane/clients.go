// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// mix is our own clients, which never retry: 300 requests a second or so.
var mix = []struct {
	clients int
	kind    load.Kind
}{
	{12, load.Kind{Name: "GET", Method: "GET", MinThink: 50 * time.Millisecond, MaxThink: 200 * time.Millisecond}},
	{12, load.Kind{Name: "POST", MinThink: 50 * time.Millisecond, MaxThink: 200 * time.Millisecond}},
	{6, load.Kind{Name: "slow POST", MinThink: time.Second, MaxThink: 3 * time.Second}},
	{3, load.Kind{Name: "new connection", NewConn: true, MinThink: 30 * time.Millisecond, MaxThink: 90 * time.Millisecond}},
	{3, load.Kind{Name: "h2c POST", Proto: "h2c", Streams: 2, Streaming: true, MinThink: 50 * time.Millisecond, MaxThink: 150 * time.Millisecond}},
}

// dialer returns what dials the plane from the clients' host.
func (r *rig) dialer(proto string) func(context.Context) (net.Conn, error) {
	addr := r.addr(proto)
	return func(ctx context.Context) (c net.Conn, err error) {
		err = r.lab.Do("clients", func() (err error) {
			c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
			return err
		})
		return c, err
	}
}

// probe sends one request through the plane, and returns an error unless it is
// answered 200.
func (r *rig) probe(ctx context.Context, proto string) error {
	dial := r.dialer(proto)
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		Protocols:   new(http.Protocols),
	}
	defer t.CloseIdleConnections()
	t.Protocols.SetHTTP1(proto == "")
	t.Protocols.SetUnencryptedHTTP2(proto == "h2c")
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr(proto)+"/", nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer: %s", resp.Status)
	}
	return nil
}
