// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// firstActivated is the descriptor of the first socket that systemd passes.
const firstActivated = 3

// taken has the descriptors that [Activated] has handed out. They belong to the
// process, whatever number of Apps it has.
var taken struct {
	sync.Mutex
	fds map[int]bool
}

// Activated returns a function for [Component.Listen] that takes over the listening
// socket that systemd has opened under that name, the FileDescriptorName of its
// socket unit, or the only one if the name is empty. systemd keeps it too: clients
// that come while the process is replaced wait in its queue. Each socket is handed
// out once. From the first of these calls on, the programs that the process starts
// inherit none of them, whether it is taken or not. On other systems than Unix there
// is none.
//
// The error says what there is instead. The protocol is that of
// sd_listen_fds(3).
func Activated(name string) func(context.Context) (net.Listener, error) {
	return func(context.Context) (net.Listener, error) {
		l, err := activated(name)
		if err != nil {
			return nil, fmt.Errorf("lifecycle: %w", err)
		}
		return l, nil
	}
}

func activated(name string) (net.Listener, error) {
	names, err := activatedNames()
	if err != nil {
		return nil, err
	}
	found := -1
	for i, n := range names {
		if name != "" && n != name {
			continue
		}
		if found >= 0 {
			return nil, fmt.Errorf("more than one of the sockets that systemd passes, %q, is %q", names, name)
		}
		found = i
	}
	if found < 0 {
		return nil, fmt.Errorf("none of the sockets that systemd passes, %q, is %q", names, name)
	}
	return takeOver(firstActivated+found, names[found])
}

// activatedNames returns the names of the sockets that are meant for this process.
func activatedNames() ([]string, error) {
	if pid := os.Getenv("LISTEN_PID"); pid != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("systemd passes no sockets: LISTEN_PID is %q", pid)
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("systemd passes no sockets: LISTEN_FDS is %q", os.Getenv("LISTEN_FDS"))
	}
	for i := range n { // before anything is made as long as it says
		if fd := firstActivated + i; !open(fd) {
			return nil, fmt.Errorf("LISTEN_FDS is %d, but descriptor %d is not open", n, fd)
		}
	}
	keep(n)
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for len(names) < n { // it is newer than the rest of the protocol
		names = append(names, "unknown")
	}
	return names[:n], nil
}

// open reports whether there is such a descriptor, or was before it was taken over.
func open(fd int) bool {
	taken.Lock()
	defer taken.Unlock()
	var stat syscall.Stat_t
	return taken.fds[fd] || syscall.Fstat(fd, &stat) == nil
}

// keep keeps the descriptors from the programs that this one starts, those that nobody
// takes as well.
func keep(n int) {
	taken.Lock()
	defer taken.Unlock()
	for fd := firstActivated; fd < firstActivated+n; fd++ {
		if !taken.fds[fd] { // or it may be another file's by now
			syscall.CloseOnExec(fd)
		}
	}
}

// listens returns an error if a descriptor is not that of a listening socket.
func listens(fd int) error {
	v, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	switch {
	case err == syscall.ENOPROTOOPT: // a system that does not tell
		return nil
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case v == 0:
		return errors.New("it does not listen")
	}
	return nil
}

func takeOver(fd int, name string) (net.Listener, error) {
	taken.Lock()
	defer taken.Unlock()
	if taken.fds[fd] {
		return nil, fmt.Errorf("the socket %q that systemd passes has been taken before", name)
	}
	if err := listens(fd); err != nil { // it may be anybody's, and stays so
		return nil, fmt.Errorf("LISTEN_FDS: descriptor %d, %q, is not a listening socket: %w", fd, name, err)
	}
	if taken.fds == nil {
		taken.fds = make(map[int]bool)
	}
	taken.fds[fd] = true
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket %q that systemd passes: %w", name, err)
	}
	return l, nil
}
