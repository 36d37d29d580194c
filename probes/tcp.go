// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ServeTCP listens on the TCP address addr exactly while the process is ready, for
// a tcpSocket probe and for load balancers that only connect. Connections are
// accepted and closed; they carry nothing. It needs a port of its own: the probes
// over HTTP answer when the process is not ready, too.
//
// It returns nil when ctx ends, with the listener closed, and an error when the
// address cannot be listened on, which may come late: at the first moment of
// readiness, or at a later one if another process has taken the port meanwhile.
// The port must not be 0, which would be another one each time.
func (r *Registry) ServeTCP(ctx context.Context, addr string) error {
	if a, err := net.ResolveTCPAddr("tcp", addr); err != nil {
		return fmt.Errorf("probes: ServeTCP: %w", err)
	} else if a.Port == 0 {
		return fmt.Errorf("probes: ServeTCP: address %q has no port", addr)
	}
	var l acceptor
	defer l.close()
	for s := range r.Watch(ctx) {
		if !s.Ready {
			l.close()
		} else if err := l.open(addr); err != nil {
			return fmt.Errorf("probes: ServeTCP: %w", err)
		}
	}
	return nil
}

// An acceptor is a listener that can be opened again. Its zero value is closed.
type acceptor struct {
	l    net.Listener // nil when closed
	done sync.WaitGroup
}

// open opens a if it is closed.
func (a *acceptor) open(addr string) error {
	if a.l != nil {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	a.l = l
	a.done.Go(func() { acceptAll(l) })
	return nil
}

// close closes a if it is open, and waits for what serves it.
func (a *acceptor) close() {
	if a.l == nil {
		return
	}
	a.l.Close()
	a.done.Wait()
	a.l = nil
}

// acceptAll accepts and closes connections until l is closed.
func acceptAll(l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			conn.Close()
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(10 * time.Millisecond) // too many open files, say
		}
	}
}
