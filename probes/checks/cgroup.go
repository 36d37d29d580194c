// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
)

// A controller is how one version of control groups accounts for memory.
type controller struct {
	limit, usage string   // files
	cache        []string // entries of memory.stat: what the kernel frees before it kills
	fstype       string
	option       string // of the file system's mount; empty: any
}

var (
	cgroup1 = &controller{
		limit:  "memory.limit_in_bytes",
		usage:  "memory.usage_in_bytes",
		cache:  []string{"total_active_file", "total_inactive_file"},
		fstype: "cgroup",
		option: "memory",
	}
	cgroup2 = &controller{
		limit:  "memory.max",
		usage:  "memory.current",
		cache:  []string{"active_file", "inactive_file"},
		fstype: "cgroup2",
	}
)

// noLimit is what version 1 has for no limit, the largest multiple of a page, on
// any size of page.
const noLimit = 1 << 62

// memoryWithin returns an error if the control group of the process, or one above
// it, uses more than the share max of its limit. root is the file system's root.
func memoryWithin(root fs.FS, max float64) error {
	c, top, dir, err := ownGroup(root)
	if c == nil || err != nil {
		return err
	}
	for {
		used, limit, err := c.read(root, dir)
		if err != nil {
			return err
		}
		if limit < noLimit && float64(used) > max*float64(limit) {
			return fmt.Errorf("memory: %s of %s used, at most %.4g %% allowed; Go has mapped %s",
				size(used), size(limit), 100*max, size(goMemory()))
		}
		if dir == top || dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

// goMemory returns the memory that the Go runtime has from the system.
func goMemory() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// ownGroup finds the directory of the process's control group, and the top one of
// those that can be seen. c is nil if there is none.
func ownGroup(root fs.FS) (c *controller, top, dir string, err error) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", "", nil
	} else if err != nil {
		return nil, "", "", err
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil, "", "", err
	}
	c, group := parseGroup(string(groups))
	if c == nil {
		return nil, "", "", nil
	}
	m, ok := c.mount(string(mounts), group)
	if !ok {
		return nil, "", "", nil
	}
	top = path.Clean(strings.TrimPrefix(path.Clean(m.point), "/"))
	below, _ := m.below(group)
	return c, top, path.Join(top, below), nil
}

// parseGroup finds the group that accounts for memory in /proc/self/cgroup: that
// of version 1 if it has memory, since only one of the two can have it.
// See cgroups(7).
func parseGroup(file string) (c *controller, group string) {
	for line := range strings.Lines(file) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3 || !path.IsAbs(f[2]):
		case f[0] == "0" && f[1] == "" && c == nil:
			c, group = cgroup2, f[2]
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			return cgroup1, f[2]
		}
	}
	return c, group
}

// A mount is a line of /proc/self/mountinfo: what of the file system is mounted
// where.
type mount struct{ root, point string }

// mount finds where the controller's file system is mounted: so that the group
// can be seen, if possible. See proc_pid_mountinfo(5).
func (c *controller) mount(file, group string) (found mount, ok bool) {
	for line := range strings.Lines(file) {
		mounted, fstype, _ := strings.Cut(line, " - ")
		m, f := strings.Fields(mounted), strings.Fields(fstype)
		if len(m) < 5 || len(f) < 3 || f[0] != c.fstype {
			continue
		}
		if c.option != "" && !slices.Contains(strings.Split(f[2], ","), c.option) {
			continue
		}
		candidate := mount{unescape.Replace(m[3]), unescape.Replace(m[4])}
		if _, sees := candidate.below(group); sees {
			return candidate, true
		}
		if !ok {
			found, ok = candidate, true
		}
	}
	return found, ok
}

// unescape undoes what mountinfo does to the bytes that it needs itself.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// below returns the path of the group under the mount's point. A group that is
// not under the mount's root, because the container sees the host's paths, is the
// mount's point itself.
func (m mount) below(group string) (rel string, ok bool) {
	rel, ok = strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !ok || rel != "" && rel[0] != '/' || strings.Contains(rel, "/..") {
		return "", false
	}
	return rel, true
}

// read returns what the group in dir uses, without the cache, and its limit. A
// group that has no files, as the root of all, or that cannot be seen, has none.
func (c *controller) read(root fs.FS, dir string) (used, limit uint64, err error) {
	limit, err = readNumber(root, path.Join(dir, c.limit))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, noLimit, nil
	}
	if err != nil || limit >= noLimit {
		return 0, limit, err
	}
	used, err = readNumber(root, path.Join(dir, c.usage))
	if err != nil {
		return 0, 0, err
	}
	stat, err := fs.ReadFile(root, path.Join(dir, "memory.stat"))
	if err != nil {
		return 0, 0, err
	}
	cache, err := c.parseCache(string(stat))
	if err != nil {
		return 0, 0, fmt.Errorf("%s/memory.stat: %w", dir, err)
	}
	return used - min(used, cache), limit, nil
}

// parseCache sums up the cache in a memory.stat.
func (c *controller) parseCache(stat string) (sum uint64, err error) {
	for line := range strings.Lines(stat) {
		key, value, _ := strings.Cut(line, " ")
		if !slices.Contains(c.cache, key) {
			continue
		}
		n, err := parseNumber(value)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func readNumber(root fs.FS, name string) (uint64, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(string(data))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// parseNumber parses a number of bytes, or max, for none.
func parseNumber(s string) (uint64, error) {
	s = strings.TrimSuffix(s, "\n")
	if s == "max" {
		return noLimit, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return min(n, noLimit), err
}
