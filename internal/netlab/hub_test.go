// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A device is a TUN device in memory.
type device struct {
	addr   netip.Addr
	out    chan []byte
	closed chan struct{}
	close  func()

	mu sync.Mutex
	in []string // guarded by mu; what arrived and when
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a bubble begins

func newDevice(addr string) *device {
	d := &device{addr: netip.MustParseAddr(addr), out: make(chan []byte), closed: make(chan struct{})}
	d.close = sync.OnceFunc(func() { close(d.closed) })
	return d
}

func (d *device) Read(b []byte) (int, error) {
	select {
	case p := <-d.out:
		return copy(b, p), nil
	case <-d.closed:
		return 0, io.EOF
	}
}

func (d *device) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in = append(d.in, fmt.Sprintf("%s at %v", b[ipv4Min:], time.Since(epoch)))
	return len(b), nil
}

func (d *device) Close() error { d.close(); return nil }

func (d *device) arrived() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.in
}

func (d *device) send(to *device, data string) {
	p := make([]byte, ipv4Min, ipv4Min+len(data))
	p[0] = 0x45
	copy(p[12:], d.addr.AsSlice())
	copy(p[16:], to.addr.AsSlice())
	d.out <- append(p, data...)
}

func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newDevice("10.77.0.1"), newDevice("10.77.0.2"), newDevice("10.77.0.3")
		h := newHub(10 * time.Millisecond)
		for _, d := range []*device{a, b, c} {
			h.attach(d.addr, d)
		}
		h.start()

		a.send(b, "1")
		a.send(b, "2")
		time.Sleep(4 * time.Millisecond)
		c.send(b, "3")
		b.send(a, "back")
		a.send(newDevice("224.0.0.22"), "for nobody")
		a.out <- []byte("short")
		a.out <- make([]byte, 60) // not IPv4
		time.Sleep(time.Second)
		assert.Equal(t, []string{"1 at 10ms", "2 at 10ms", "3 at 14ms"}, b.arrived())
		assert.Equal(t, []string{"back at 14ms"}, a.arrived())
		assert.Empty(t, c.arrived())

		// What is on the way when the hub is closed is dropped, without delay.
		a.send(b, "late")
		synctest.Wait()
		begin := time.Now()
		h.close()
		assert.Zero(t, time.Since(begin))
		assert.Len(t, b.arrived(), 3)
	})
}

func TestHubWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDevice("10.77.0.1"), newDevice("10.77.0.2")
		h := newHub(0)
		h.attach(a.addr, a)
		h.attach(b.addr, b)
		h.start()
		defer h.close()
		a.send(b, "1")
		synctest.Wait()
		assert.Equal(t, []string{"1 at 0s"}, b.arrived())
	})
}

func TestAFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const more = 10
		a, b := newDevice("10.77.0.1"), newDevice("10.77.0.2")
		h := newHub(time.Second)
		h.attach(a.addr, a)
		h.attach(b.addr, b)
		h.start()
		defer h.close()
		a.send(b, "")
		synctest.Wait() // the writer has taken it and waits
		for range queueSize + more {
			a.send(b, "")
		}
		time.Sleep(2 * time.Second)
		assert.Len(t, b.arrived(), queueSize+1)
	})
}
