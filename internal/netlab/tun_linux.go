// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

const (
	tunPath  = "/dev/net/tun"
	tunName  = "tun0"
	tunQueue = 10000 // packets the kernel keeps for the hub; its default of 500 drops bursts
)

// openTUN makes the namespace's TUN device, with the address, and brings it and the
// loopback interface up. The length of the prefix gives the route to the others.
func (ns *namespace) openTUN(addr netip.Prefix) (io.ReadWriteCloser, error) {
	var dev *os.File
	err := ns.do(func() (err error) {
		if dev, err = newTUN(); err != nil {
			return fmt.Errorf("%w: a TUN device: %w", errUnavailable, err)
		}
		if err := configure(addr); err != nil {
			dev.Close()
			return fmt.Errorf("netlab: configuring the TUN device: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return dev, nil
}

// newTUN makes a TUN device in the namespace of the calling thread. Being
// nonblocking its file is polled, so that Close ends a Read. The poller must not
// see the file before the device is there: it would never hear of packets.
func newTUN() (*os.File, error) {
	fd, err := syscall.Open(tunPath, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: tunPath, Err: err}
	}
	if err := ioctl(fd, syscall.TUNSETIFF, tunName, short(syscall.IFF_TUN|syscall.IFF_NO_PI)); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("TUNSETIFF", err)
	}
	return os.NewFile(uintptr(fd), tunPath), nil
}

// configure sets up the interfaces of the calling thread's namespace.
func configure(addr netip.Prefix) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)

	mask := net.CIDRMask(addr.Bits(), addr.Addr().BitLen())
	for _, r := range []struct {
		name, device string
		call         uintptr
		data         []byte
	}{
		{"SIOCSIFFLAGS", "lo", syscall.SIOCSIFFLAGS, short(syscall.IFF_UP)},
		{"SIOCSIFTXQLEN", tunName, syscall.SIOCSIFTXQLEN, binary.NativeEndian.AppendUint32(nil, tunQueue)},
		{"SIOCSIFADDR", tunName, syscall.SIOCSIFADDR, sockaddr(addr.Addr().AsSlice())},
		{"SIOCSIFNETMASK", tunName, syscall.SIOCSIFNETMASK, sockaddr(mask)},
		{"SIOCSIFFLAGS", tunName, syscall.SIOCSIFFLAGS, short(syscall.IFF_UP)},
	} {
		if err := ioctl(fd, r.call, r.device, r.data); err != nil {
			return os.NewSyscallError(r.name, err)
		}
	}
	return nil
}

// ioctl makes a request about a network device: see netdevice(7).
func ioctl(fd int, call uintptr, device string, data []byte) error {
	var ifreq struct {
		name [syscall.IFNAMSIZ]byte
		data [24]byte
	}
	copy(ifreq.name[:], device)
	copy(ifreq.data[:], data)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), call, uintptr(unsafe.Pointer(&ifreq)))
	if errno != 0 {
		return errno
	}
	return nil
}

func short(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

// sockaddr returns the bytes of a sockaddr_in: family, port 0, address.
func sockaddr(ip []byte) []byte { return append(append(short(syscall.AF_INET), 0, 0), ip...) }
