// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// An oddConn is a connection of the program's. Once its request has come, the functions
// are called before what they are named for; nil ones are not.
type oddConn struct {
	net.Conn
	odd                       *atomic.Bool
	setReadDeadline, fromWhom func()
}

func (c oddConn) SetReadDeadline(t time.Time) error {
	if c.odd.Load() && c.setReadDeadline != nil {
		c.setReadDeadline()
	}
	return c.Conn.SetReadDeadline(t)
}

func (c oddConn) RemoteAddr() net.Addr {
	if c.odd.Load() && c.fromWhom != nil {
		c.fromWhom()
	}
	return c.Conn.RemoteAddr()
}

type oddListener struct {
	net.Listener
	conn oddConn
}

func (l oddListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	c := l.conn
	c.Conn = nc
	return c, err
}

// connect makes the guilty component a server whose connections are odd, with a request
// to h.
func (f *faultyApp) connect(c oddConn, h http.HandlerFunc) {
	c.odd = new(atomic.Bool)
	f.serve(h)
	f.guilty.Server.HTTP.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateIdle || state == http.StateHijacked {
			time.AfterFunc(time.Second, func() { c.odd.Store(true) }) // net/http has done with it
		}
	}
	listen := f.guilty.Listen
	f.guilty.Listen = func(ctx context.Context) (net.Listener, error) {
		l, err := listen(ctx)
		return oddListener{l, c}, err
	}
}

func (f *faultyApp) hijack(w http.ResponseWriter, _ *http.Request) {
	http.NewResponseController(w).Hijack()
}
