// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A group is a control group of version 2.
type group struct {
	dir  string
	file *os.File // the directory
}

// newGroup makes a control group, below the root of what is mounted.
func newGroup() (*group, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	root, err := cgroup2(string(mounts))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(root, "lameduck-slow-")
	if err != nil {
		return nil, err
	}
	file, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &group{dir: dir, file: file}, nil
}

// cgroup2 returns where control groups of version 2 are mounted. See proc_pid_mountinfo(5).
func cgroup2(mountinfo string) (string, error) {
	for line := range strings.Lines(mountinfo) {
		mount, kind, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); strings.HasPrefix(kind, "cgroup2 ") && len(fields) > 4 {
			return fields[4], nil
		}
	}
	return "", errors.New("no control groups of version 2 are mounted")
}

// hold makes cmd start in the group.
func (g *group) hold(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.file.Fd())}
}

// stutter lets the group run for length, stops it for stop, and so on until over or ctx is
// done. It then runs, or has been ended if that was ctx.
func (g *group) stutter(ctx context.Context, over <-chan struct{}, length, stop time.Duration, count *atomic.Int64) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	for frozen := false; ; {
		select {
		case <-over:
			return nil // its process has been waited for, so it cannot be frozen
		case <-ctx.Done():
			return g.write("cgroup.kill", "1") // what is frozen ends too
		case <-timer.C:
		}
		if frozen = !frozen; !frozen {
			if err := g.write("cgroup.freeze", "0"); err != nil {
				return err
			}
			timer.Reset(length)
			continue
		}
		if err := g.write("cgroup.freeze", "1"); err != nil {
			return errors.Join(err, g.write("cgroup.kill", "1"))
		}
		count.Add(1)
		timer.Reset(stop)
	}
}

// close ends what is left in the group, and removes it.
func (g *group) close() error {
	defer g.file.Close()
	if err := g.write("cgroup.kill", "1"); err != nil {
		return err
	}
	// The processes are gone some moment after they have been told to be.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
		if err != nil {
			return err
		}
		if strings.Contains(string(events), "populated 0") {
			return os.Remove(g.dir)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: processes are left in it", g.dir)
		}
	}
}

func (g *group) write(file, value string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0)
}
