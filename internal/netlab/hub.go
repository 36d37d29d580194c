// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"bytes"
	"io"
	"net/netip"
	"sync"
	"time"
)

const (
	mtu       = 1500
	queueSize = 65536 // packets on the way to one host; those that find it full are lost
	ipv4Min   = 20    // bytes of the shortest header
)

// A hub passes packets between devices, each after the same delay, so that their
// order is kept. Each device has a goroutine that reads and one that writes; close
// waits for all.
type hub struct {
	delay time.Duration
	ports map[netip.Addr]port // fixed once started
	stop  chan struct{}       // closed by close
	wg    sync.WaitGroup
}

type port struct {
	dev   io.ReadWriteCloser // one packet a Read, one a Write
	queue chan packet
}

type packet struct {
	due  time.Time
	data []byte
}

func newHub(delay time.Duration) *hub {
	return &hub{delay: delay, ports: make(map[netip.Addr]port), stop: make(chan struct{})}
}

// attach gives the hub the device of an address. The hub closes it.
func (h *hub) attach(addr netip.Addr, dev io.ReadWriteCloser) {
	h.ports[addr] = port{dev, make(chan packet, queueSize)}
}

func (h *hub) start() {
	for _, p := range h.ports {
		h.wg.Go(func() { h.read(p) })
		h.wg.Go(func() { h.write(p) })
	}
}

// close closes the devices, drops what is on the way and waits for the goroutines.
func (h *hub) close() {
	close(h.stop)
	for _, p := range h.ports {
		p.dev.Close()
	}
	h.wg.Wait()
}

// read queues what a device sends, until the device is closed. What is not IPv4,
// or is for nobody here, is dropped: each device says a few words of IPv6 and of
// multicast when it comes up.
func (h *hub) read(p port) {
	buf := make([]byte, mtu)
	for {
		n, err := p.dev.Read(buf)
		if err != nil {
			return
		}
		due := time.Now().Add(h.delay)
		if n < ipv4Min || buf[0]>>4 != 4 {
			continue
		}
		to, ok := h.ports[netip.AddrFrom4([4]byte(buf[16:20]))]
		if !ok {
			continue
		}
		select {
		case to.queue <- packet{due, bytes.Clone(buf[:n])}:
		default:
		}
	}
}

// write delivers a device's queue, each packet when it is due. One that the device
// does not take is lost, as on any network.
func (h *hub) write(p port) {
	for {
		select {
		case pk := <-p.queue:
			if !h.wait(pk.due) {
				return
			}
			p.dev.Write(pk.data)
		case <-h.stop:
			return
		}
	}
}

// wait waits until the time has come, and reports false if the hub is closed first.
func (h *hub) wait(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-h.stop:
		return false
	}
}
