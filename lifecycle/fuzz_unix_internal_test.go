// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package lifecycle

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzActivated has anything in systemd's variables, in a process that it has passed no
// socket: what is open stays open, and is taken for none.
func FuzzActivated(f *testing.F) {
	f.Add("web", "1", "web", true)
	f.Add("", "1", "", true)
	f.Add("web", "2", "web:web", true)
	f.Add("", "99999999999999999999", "a", true)
	f.Add("", "2147483647", ":::", true)
	f.Add("unknown", "3", "", true)
	f.Add("", "-1", "", true)
	f.Add("web", "1", "web", false)
	f.Fuzz(func(t *testing.T, name, fds, names string, own bool) {
		set(t, "LISTEN_FDS", fds)
		set(t, "LISTEN_FDNAMES", names)
		pid := "1"
		if own {
			pid = strconv.Itoa(os.Getpid())
		}
		t.Setenv("LISTEN_PID", pid)
		before := openBelow(64)
		l, err := Activated(name)(t.Context())
		assert.Nil(t, l)
		if !own {
			assert.ErrorContains(t, err, "systemd passes no sockets")
		} else {
			assert.Error(t, err)
		}
		assert.Equal(t, before, openBelow(64))
		if all, err := activatedNames(); err == nil {
			assert.Equal(t, strconv.Itoa(len(all)), strings.TrimLeft(strings.TrimPrefix(fds, "+"), "0"))
			for i, got := range strings.Split(names, ":") {
				if i < len(all) {
					assert.Equal(t, got, all[i])
				}
			}
		}
	})
}

// openBelow returns which descriptors are open.
func openBelow(n int) (open []int) {
	for fd := range n {
		if syscall.Fstat(fd, new(syscall.Stat_t)) == nil {
			open = append(open, fd)
		}
	}
	return open
}
