// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// nodes is how many nodes the balancer stands for. Each learns of a removal
// after its own delay, as each node's kube-proxy does.
const nodes = 4

// A balancer is a layer-4 balancer: it gives each new connection to a random
// endpoint of the node that the connection comes in on, and leaves it there
// until it ends.
type balancer struct {
	l           *net.TCPListener
	propagation time.Duration
	oneWay      time.Duration
	group       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	views  [nodes][]*endpoint
	fates  map[string]fate // by the client's address
	conns  map[*net.TCPConn]struct{}
	closed bool
	timers []*time.Timer
}

// An endpoint is a replica as the balancer sees it.
type endpoint struct{ id, addr string }

// A fate is what became of a connection.
type fate struct {
	endpoint string
	refused  bool
}

func newBalancer(propagation, rtt time.Duration) (*balancer, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	b := &balancer{
		l:           l,
		propagation: propagation,
		oneWay:      rtt / 2,
		fates:       make(map[string]fate),
		conns:       make(map[*net.TCPConn]struct{}),
	}
	b.group.Go(b.accept)
	return b, nil
}

// add makes every node send new connections to e as well.
func (b *balancer) add(e *endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.views {
		b.views[i] = append(b.views[i], e)
	}
}

// remove makes the nodes forget e, one after the other, the last one after the
// whole propagation time.
func (b *balancer) remove(e *endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.views {
		delay := b.propagation
		if i > 0 {
			delay = time.Duration(rand.Float64() * float64(delay))
		}
		b.timers = append(b.timers, time.AfterFunc(delay, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.views[i] = slices.DeleteFunc(slices.Clone(b.views[i]), func(x *endpoint) bool { return x == e })
		}))
	}
}

// fate returns what became of the connection from a client's address.
func (b *balancer) fate(client string) fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fates[client]
}

// close ends the balancer and all its connections.
func (b *balancer) close() {
	b.l.Close()
	b.mu.Lock()
	b.closed = true
	for c := range b.conns {
		c.Close()
	}
	for _, t := range b.timers {
		t.Stop()
	}
	b.mu.Unlock()
	b.group.Wait()
}

func (b *balancer) accept() {
	for {
		c, err := b.l.AcceptTCP()
		if err != nil {
			return
		}
		b.group.Go(func() { b.serve(c) })
	}
}

// serve ties a client's connection to an endpoint. A refused dial becomes a
// reset, since the client's handshake is over; fate tells the two apart.
func (b *balancer) serve(client *net.TCPConn) {
	addr := client.RemoteAddr().String()
	b.mu.Lock()
	view := b.views[rand.N(nodes)]
	b.mu.Unlock()
	if len(view) == 0 {
		reset(client)
		return
	}
	e := view[rand.N(len(view))]
	nc, err := net.Dial("tcp", e.addr)
	b.mu.Lock()
	b.fates[addr] = fate{e.id, errors.Is(err, syscall.ECONNREFUSED)}
	b.mu.Unlock()
	if err != nil {
		// Not before the client has sent something: then it knows that it is
		// connected and from where, and its loss can be put on the right lane.
		client.SetReadDeadline(time.Now().Add(time.Second))
		client.Read(make([]byte, 1))
		time.Sleep(b.oneWay)
		reset(client)
		return
	}
	backend := nc.(*net.TCPConn)
	if !b.hold(client, backend) {
		return
	}
	var pair sync.WaitGroup
	pair.Go(func() { b.relay(backend, client) })
	pair.Go(func() { b.relay(client, backend) })
	pair.Wait()
	b.release(client, backend)
}

// hold notes connections for close, or closes them if it is too late.
func (b *balancer) hold(conns ...*net.TCPConn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		if b.closed {
			c.Close()
		} else {
			b.conns[c] = struct{}{}
		}
	}
	return !b.closed
}

func (b *balancer) release(conns ...*net.TCPConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(b.conns, c)
	}
}

// A packet is what came in at a moment: bytes, or how the stream has ended.
type packet struct {
	due  time.Time
	data []byte
	err  error
}

// relay copies what comes from src to dst, each piece after the one-way delay,
// the end of the stream and a reset included.
func (b *balancer) relay(dst, src *net.TCPConn) {
	packets := make(chan packet, 64)
	go func() {
		defer close(packets)
		for {
			buf := make([]byte, 4<<10)
			n, err := src.Read(buf)
			packets <- packet{time.Now().Add(b.oneWay), buf[:n], err}
			if err != nil {
				return
			}
		}
	}()
	for p := range packets {
		time.Sleep(time.Until(p.due))
		if len(p.data) > 0 {
			if _, err := dst.Write(p.data); err != nil {
				reset(src) // the reader ends, and so does this loop
			}
		}
		switch {
		case p.err == nil:
		case errors.Is(p.err, syscall.ECONNRESET):
			reset(dst)
		default:
			dst.CloseWrite()
		}
	}
}

// reset closes a connection with a RST.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
