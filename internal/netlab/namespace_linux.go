// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// setnsCalls has the number of setns(2), which package syscall lacks for some
// architectures.
var setnsCalls = map[string]uintptr{
	"386":     346,
	"amd64":   308,
	"arm":     375,
	"arm64":   268,
	"loong64": 268,
	"riscv64": 268,
	"s390x":   339,
}

// A namespace is a network namespace, kept by an open file.
type namespace struct {
	file *os.File
}

func newNamespace() (*namespace, error) {
	if setnsCalls[runtime.GOARCH] == 0 {
		return nil, fmt.Errorf("%w: setns on %s", errUnavailable, runtime.GOARCH)
	}
	ns := new(namespace)
	err := onThread(func() (err error) {
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: a network namespace: %w", errUnavailable, err)
		}
		if ns.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return fmt.Errorf("netlab: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ns, nil
}

func (ns *namespace) close() { ns.file.Close() }

// do calls f on a thread inside the namespace.
func (ns *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := ns.enter(); err != nil {
			return fmt.Errorf("netlab: entering the namespace: %w", err)
		}
		return f()
	})
}

// enter moves the calling thread into the namespace.
func (ns *namespace) enter() error {
	raw, err := ns.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	if raw.Control(func(fd uintptr) {
		_, _, errno = syscall.RawSyscall(setnsCalls[runtime.GOARCH], fd, syscall.CLONE_NEWNET, 0)
	}) != nil {
		return os.ErrClosed // Control fails for no other reason, but not with this error
	}
	if errno != 0 {
		return os.NewSyscallError("setns", errno)
	}
	return nil
}

// onThread calls f on a thread that runs nothing else and ends with it. A thread
// that has changed its namespace must not come back to the scheduler: any other
// goroutine might run on it next. So it is locked and never unlocked, and the
// runtime ends it. The runtime takes no such thread as the parent of new ones.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := errors.New("netlab: the function has ended its goroutine")
		defer func() { result <- err }()
		if syscall.Gettid() == syscall.Getpid() {
			// The main thread cannot be ended; it would be parked in the namespace
			// for the life of the process, and show there as the process's own.
			// While it is held here, another goroutine gets another thread.
			err = onThread(f)
			runtime.UnlockOSThread()
			return
		}
		err = f()
	}()
	return <-result
}
