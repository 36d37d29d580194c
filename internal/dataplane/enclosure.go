// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// insideEnv has the directory for files, and its presence makes this program the
// one inside the enclosure.
const insideEnv = "DATAPLANE_INSIDE"

// enclose runs this program once more, as the first process of a PID namespace,
// with a network and a file system for its files that nobody else sees, and returns
// its exit status. When that process ends, in whatever way, the kernel kills what
// it has started and takes down network namespaces, rules and files; and it ends
// when this one does.
func enclose() (int, error) {
	// It is the death of the thread that starts it which the child is told of.
	runtime.LockOSThread()
	dir, err := os.MkdirTemp("", "dataplane")
	if err != nil {
		return 0, err
	}
	defer os.Remove(dir) // its files are in a mount of the child's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // a terminal's Ctrl-C comes here only, and is passed on
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("namespaces, which take root: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			cmd.Process.Signal(s)
		case err := <-ended:
			if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}

// settleIn gives the process inside the enclosure its mounts.
func settleIn(dir string) error {
	for _, m := range []struct {
		source, target, fs string
		flags              uintptr
	}{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", dir, "tmpfs", 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.fs, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}
