// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package draintest

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command the leader of a process group, so that the server of
// a wrapper such as "go run" can be ended with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills what is left of a command's group; mostly that is nothing. No
// other process gets the pid of a group that has a member.
func killGroup(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }
