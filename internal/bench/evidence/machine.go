// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A machine is where something was measured, when, and what.
type machine struct {
	CPU    string
	Cores  int
	Kernel string
	Go     string
	Commit string // the last one that has changed what is measured
	Date   string
	Busy   string `json:",omitempty"` // how many others wanted the processors before, by the load average of a minute
}

func thisMachine(ctx context.Context, root string) (machine, error) {
	m := machine{
		Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Format(time.DateOnly),
		Kernel: runtime.GOOS, CPU: runtime.GOARCH,
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Busy, _, _ = strings.Cut(string(b), " ")
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpu(string(b))
	}
	// Not the last one at all, which may have written the page.
	args := []string{"-C", root, "log", "-1", "--format=%h", "--", "drain", "lifecycle", "probes", ":!*_test.go", ":!*.md"}
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return m, fmt.Errorf("git cannot tell the commit of %s: %w", root, err)
	}
	m.Commit = strings.TrimSpace(string(out))
	return m, nil
}

// cpu returns the name of the first processor.
func cpu(info string) string {
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// undated returns what has to be equal for two results to be added.
func (m machine) undated() machine {
	m.Date, m.Busy = "", ""
	return m
}
