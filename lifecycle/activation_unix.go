// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package lifecycle

import (
	"context"
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
// out once. On other systems than Unix there is none.
//
// The error says what there is instead. The protocol is that of
// sd_listen_fds(3).
func Activated(name string) func(context.Context) (net.Listener, error) {
	return func(context.Context) (net.Listener, error) {
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
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for len(names) < n { // it is newer than the rest of the protocol
		names = append(names, "unknown")
	}
	return names[:n], nil
}

func takeOver(fd int, name string) (net.Listener, error) {
	taken.Lock()
	defer taken.Unlock()
	if taken.fds[fd] {
		return nil, fmt.Errorf("the socket %q that systemd passes has been taken before", name)
	}
	if taken.fds == nil {
		taken.fds = make(map[int]bool)
	}
	taken.fds[fd] = true
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket %q that systemd passes: %w", name, err)
	}
	return l, nil
}
