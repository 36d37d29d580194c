// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package netlab gives a test, or a program, a few hosts on a network of their own, with a real
// delay between them, which loopback does not have: a SYN in flight, a FIN that
// crosses a request, a reset that comes a round trip late.
//
// Each host is a Linux network namespace with one TUN device; a hub in the process
// passes IPv4 packets between the devices. It takes root, or the
// capabilities to make namespaces and TUN devices, and no other program. The
// network of the machine is neither changed nor reachable from a host.
package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Required is the environment variable that, set to "required", makes [New] fail
// where it otherwise skips, so that continuous integration cannot skip in silence.
const Required = "LAMEDUCK_NETLAB"

// errUnavailable is wrapped by the errors that say what the system lacks or
// forbids. Other errors of the set-up are faults and fail the test.
var errUnavailable = errors.New("netlab: needs Linux, root and TUN devices")

// prefix is the network of every lab. Labs side by side do not see each other.
var prefix = netip.MustParsePrefix("10.77.0.0/24")

// A Lab is a few hosts on one network with delay. Its methods may be called from
// several goroutines at once. They panic on a name that was not given to [New] or
// [Open].
type Lab struct {
	hosts map[string]host // fixed once Open has returned
	hub   *hub

	mu       sync.Mutex
	commands []*exec.Cmd // guarded by mu; what Start has started
}

type host struct {
	addr netip.Addr
	ns   *namespace
}

// New is [Open] for a test. It skips the test where the system does not let it make
// namespaces and TUN devices; see [Required]. All is taken down when the test and
// its cleanups that were registered later have ended.
func New(t testing.TB, oneWay time.Duration, names ...string) *Lab {
	t.Helper()
	l, err := Open(oneWay, names...)
	switch {
	case errors.Is(err, errUnavailable):
		unavailable(t, err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// Open makes a host for each name. A packet from one host to another is delivered
// oneWay after it was sent, or as soon after as the system lets the hub run, never
// earlier; what a host sends to itself is not delayed. Zero or less means no delay
// but that of the hub. The caller calls Close.
func Open(oneWay time.Duration, names ...string) (*Lab, error) {
	l := &Lab{hosts: make(map[string]host), hub: newHub(oneWay)}
	for _, name := range names {
		if err := l.add(name); err != nil {
			l.Close()
			return nil, err
		}
	}
	l.hub.start()
	return l, nil
}

// unavailable ends the test: as skipped, unless a lab is required.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv(Required) == "required" {
		t.Fatalf("%v, and %s=required", err, Required)
	}
	t.Skip(err)
}

func (l *Lab) add(name string) error {
	if _, ok := l.hosts[name]; ok {
		return fmt.Errorf("netlab: two hosts of the name %q", name)
	}
	addr := prefix.Addr()
	for range len(l.hosts) + 1 {
		addr = addr.Next()
	}
	if !prefix.Contains(addr.Next()) { // the last address is that of broadcasts
		return errors.New("netlab: more hosts than addresses")
	}
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	l.hosts[name] = host{addr, ns}
	dev, err := ns.openTUN(netip.PrefixFrom(addr, prefix.Bits()))
	if err != nil {
		return err
	}
	l.hub.attach(addr, dev)
	return nil
}

// Close kills what [Lab.Start] has started and takes the network down. What is on
// the way then is lost, a FIN too, so a caller waits for both ends of its
// connections before. Sockets that are left keep their namespace, cut off, until
// they are closed. Close is called once.
func (l *Lab) Close() {
	l.mu.Lock()
	for _, cmd := range l.commands {
		cmd.Process.Kill()
	}
	l.mu.Unlock()
	l.hub.close()
	for _, h := range l.hosts {
		h.ns.close()
	}
}

func (l *Lab) host(name string) host {
	h, ok := l.hosts[name]
	if !ok {
		panic(fmt.Sprintf("netlab: no host %q", name))
	}
	return h
}

// Addr returns the IP address of a host: 10.77.0.1 for the first name given to
// [New], 10.77.0.2 for the second, and so on.
func (l *Lab) Addr(name string) string { return l.host(name).addr.String() }

// Do calls f on a thread that is inside the host's namespace, waits until it has
// returned, and returns its error. Sockets that f makes belong to the host for
// good and may be used from anywhere afterwards. Calls of Do may overlap, on one
// host too, and each holds a thread while it lasts. Once the lab is taken down Do
// fails with [os.ErrClosed] and does not call f.
//
//	err := lab.Do("client", func() (err error) {
//		conn, err = net.Dial("tcp", lab.Addr("server")+":80")
//		return err
//	})
//
// Goroutines that f starts are not inside. [net.Listen], [net.Dial] and a
// [net.Dialer] make the socket on the goroutine of the caller, provided the address
// is an IP address: a host name may be looked up, and its addresses tried, on
// others. An [net/http.Transport] dials on a goroutine of its own, so it is its
// DialContext that has to call Do.
//
// f runs on a goroutine of its own, so it must not call [testing.T.FailNow]. If it
// does, it ends there and Do returns an error.
func (l *Lab) Do(name string, f func() error) error { return l.host(name).ns.do(f) }

// Start starts the command on the host, as [exec.Cmd.Start] does. The caller waits
// for it; what still runs when the lab is closed is killed. The command must not set
// Pdeathsig: the thread that starts it ends at once.
func (l *Lab) Start(name string, cmd *exec.Cmd) error {
	if err := l.Do(name, cmd.Start); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands = append(l.commands, cmd)
	return nil
}
