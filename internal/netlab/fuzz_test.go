// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// FuzzHub has a device send any bytes: they come out at the address that an IPv4 header
// names, unchanged and late, or nowhere.
func FuzzHub(f *testing.F) {
	header := "\x45\x00\x00\x14\x00\x00\x00\x00\x40\x06\x00\x00\x0a\x4d\x00\x01\x0a\x4d\x00"
	f.Add([]byte(header + "\x02"))
	f.Add([]byte(header + "\x02payload"))
	f.Add([]byte(header + "\x01")) // to itself
	f.Add([]byte(header + "\x03")) // to nobody
	f.Add([]byte(header))
	f.Add([]byte("\x60" + header + "\x02"))
	f.Add(make([]byte, 2*mtu))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			a, b := newDevice("10.77.0.1"), newDevice("10.77.0.2")
			h := newHub(3 * time.Millisecond)
			for _, d := range []*device{a, b} {
				h.ports[d.addr] = port{d, make(chan packet, 1)} // attach's queues are long
			}
			h.start()
			a.out <- data
			time.Sleep(time.Second)
			h.close()
			data = data[:min(len(data), mtu)]
			for _, d := range []*device{a, b} {
				if len(data) < 20 || data[0]&0xf0 != 0x40 || netip.AddrFrom4([4]byte(data[16:20])) != d.addr {
					assert.Empty(t, d.arrived())
					continue
				}
				assert.Equal(t, []string{fmt.Sprintf("%s at 3ms", data[20:])}, d.arrived())
			}
		})
	})
}
