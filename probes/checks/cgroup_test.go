// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// Of a Kubernetes node with version 2, whose containers have a namespace.
	cgroups2   = "0::/\n"
	mountinfo2 = "1467 1466 0:154 / /proc rw,nosuid - proc proc rw\n" +
		"1474 1473 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n"

	// Of Docker with version 1: the host's path is mounted at the top.
	cgroups1   = "12:cpuset:/docker/abc\n4:hugetlb,memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/system.slice\n"
	mountinfo1 = "702 695 0:32 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n" +
		"703 695 0:33 /docker/abc /sys/fs/cgroup/memory ro master:17 - cgroup cgroup rw,memory\n" +
		"704 695 0:34 / /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n"
)

// tree writes files to a directory.
func tree(t *testing.T, files map[string]string) fs.FS {
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(data), 0o600))
	}
	return os.DirFS(dir)
}

func TestMemoryWithin(t *testing.T) {
	two := map[string]string{
		"proc/self/cgroup":             cgroups2,
		"proc/self/mountinfo":          mountinfo2,
		"sys/fs/cgroup/memory.max":     "1000\n",
		"sys/fs/cgroup/memory.current": "950\n",
		"sys/fs/cgroup/memory.stat":    "anon 900\nactive_file 30\ninactive_file 20\nslab 5\n",
	}
	one := map[string]string{
		"proc/self/cgroup":                            cgroups1,
		"proc/self/mountinfo":                         mountinfo1,
		"sys/fs/cgroup/memory/memory.limit_in_bytes":  "1000\n",
		"sys/fs/cgroup/memory/memory.usage_in_bytes":  "950\n",
		"sys/fs/cgroup/memory/memory.stat":            "active_file 900\ntotal_active_file 30\ntotal_inactive_file 20\n",
		"sys/fs/cgroup/cpu/memory.limit_in_bytes":     "1\n",
		"sys/fs/cgroup/unified/memory.limit_in_bytes": "1\n",
	}
	// A service of systemd: the limit is that of a slice above it.
	slices := map[string]string{
		"proc/self/cgroup":                                 "0::/a.slice/b c.service\n",
		"proc/self/mountinfo":                              `30 23 0:26 / /sys/fs/my\040cgroup rw - cgroup2 cgroup2 rw` + "\n",
		"sys/fs/my cgroup/a.slice/memory.max":              "1000\n",
		"sys/fs/my cgroup/a.slice/memory.current":          "950\n",
		"sys/fs/my cgroup/a.slice/memory.stat":             "active_file 50\n",
		"sys/fs/my cgroup/a.slice/b c.service/memory.max":  "max\n",
		"sys/fs/my cgroup/a.slice/b c.service/memory.stat": "nonsense",
	}
	with := func(files map[string]string, name, data string) map[string]string {
		changed := map[string]string{name: data}
		for n, d := range files {
			if n != name {
				changed[n] = d
			}
		}
		return changed
	}
	without := func(files map[string]string, name string) map[string]string {
		changed := with(files, name, "")
		delete(changed, name)
		return changed
	}
	const used = "memory: 900 B of 1000 B used, at most "
	for _, tt := range []struct {
		name  string
		files map[string]string
		max   float64
		want  string // empty: passes
	}{
		{"version 2, within", two, 0.9, ""},
		{"version 2, over", two, 0.899, used},
		{"version 2, no limit", with(two, "sys/fs/cgroup/memory.max", "max\n"), -1, ""},
		{"version 2, no swap of files", with(two, "sys/fs/cgroup/memory.stat", "active_file 2000\n"), 0, ""},
		{"version 2, host's path", with(two, "proc/self/cgroup", "0::/../pod1/abc\n"), 0.899, used},
		{"version 2, path that is not there", with(two, "proc/self/cgroup", "0::/pod1/abc\n"), 0.899, used},
		{"version 2, limit of nothing", with(two, "sys/fs/cgroup/memory.max", "0\n"), 0.9, "memory: 900 B of 0 B used"},
		{"version 2, cannot be understood", with(two, "sys/fs/cgroup/memory.max", "much\n"), 0.9,
			`sys/fs/cgroup/memory.max: strconv.ParseUint: parsing "much": invalid syntax`},
		{"version 2, stat cannot be understood", with(two, "sys/fs/cgroup/memory.stat", "active_file -1\n"), 0.9,
			`sys/fs/cgroup/memory.stat: strconv.ParseUint: parsing "-1": invalid syntax`},
		{"version 2, no use", without(two, "sys/fs/cgroup/memory.current"), 0.9, "memory.current: no such file"},
		{"version 2, no stat", without(two, "sys/fs/cgroup/memory.stat"), 0.9, "memory.stat: no such file"},
		{"version 1, within", one, 0.9, ""},
		{"version 1, over", one, 0.899, used},
		{"version 1, no limit", with(one, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), 0, ""},
		{"version 1, not mounted", with(one, "proc/self/mountinfo", mountinfo2), 0, ""},
		{"version 1, mounted elsewhere too", with(one, "proc/self/mountinfo",
			"9 9 0:1 /docker/other /other rw - cgroup cgroup rw,memory\n"+mountinfo1), 0.899, used},
		{"a slice, within", slices, 0.9, ""},
		{"a slice, over", slices, 0.899, used},
		{"a slice, mounted at the root", with(with(slices, "proc/self/mountinfo", "1 1 0:1 / / rw - cgroup2 c rw\n"),
			"a.slice/memory.max", "0\n"), 0, "a.slice/memory.current: no such file"},
		{"no control groups", without(two, "proc/self/cgroup"), 0, ""},
		{"no line that is known", with(two, "proc/self/cgroup", "\n::\n1:memory\n0::relative\n"), 0, ""},
		{"no mounts", without(two, "proc/self/mountinfo"), 0, "mountinfo: no such file"},
		{"mounts of nothing", with(two, "proc/self/mountinfo", "1 2 - cgroup2\n - cgroup2 a b\n\n"), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := memoryWithin(tree(t, tt.files), tt.max)
			if tt.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestMemoryThatCannotBeRead(t *testing.T) {
	root := refusing{fstest.MapFS{"proc/self/cgroup": {}}}
	assert.ErrorIs(t, memoryWithin(root, 1), fs.ErrPermission)
}

type refusing struct{ fs.FS }

func (refusing) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<64 - 1: "16.0 EiB",
	} {
		assert.Equal(t, want, size(n))
	}
}

func FuzzMemory(f *testing.F) {
	f.Add(cgroups2, mountinfo2, "1000\n", "active_file 30\n", 0.5)
	f.Add(cgroups1, mountinfo1, "max\n", "total_active_file x\n", 0.9)
	f.Add("0::/a/../b\n", "1 2 3 /a /.. rw - cgroup2 c rw\n", "18446744073709551616", "active_file", -1.0)
	f.Add("4:memory:/a\n", "1 2 3 / / rw - cgroup c memory\n", "-1", "\x00", 1e300)
	f.Fuzz(func(t *testing.T, groups, mounts, number, stat string, max float64) {
		root := &anywhere{number: number, stat: stat, MapFS: fstest.MapFS{
			"proc/self/cgroup":    {Data: []byte(groups)},
			"proc/self/mountinfo": {Data: []byte(mounts)},
		}}
		err := memoryWithin(root, max)
		if root.asked == 0 {
			assert.NoError(t, err, "no control group is no limit")
		}
		assert.LessOrEqual(t, root.asked, 3+3*strings.Count(groups, "/"), "each group once")
	})
}

// anywhere has the files of a control group in every directory.
type anywhere struct {
	fstest.MapFS
	number, stat string
	asked        int
}

func (a *anywhere) ReadFile(name string) ([]byte, error) {
	if strings.HasPrefix(name, "proc/self/") && a.MapFS[name] != nil {
		return a.MapFS.ReadFile(name)
	}
	a.asked++
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
	}
	if strings.HasSuffix(name, "memory.stat") {
		return []byte(a.stat), nil
	}
	return []byte(a.number), nil
}
