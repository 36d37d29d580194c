// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestScriptUpdatesTheListsOnce, and not at all if those that are there are enough. The
// script runs where nothing is installed, with an apt-get and a go that only say what
// they were asked.
func TestScriptUpdatesTheListsOnce(t *testing.T) {
	if os.Getuid() != 0 || exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "true").Run() != nil {
		t.Skip("it takes root and namespaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("it takes /dev/net/tun")
	}
	packages := 7
	if _, err := os.Stat("/usr/lib/nginx/modules/ngx_http_lua_module.so"); err != nil {
		packages++
	}
	for _, tt := range []struct {
		name, apt string
		updates   int
		cannot    string
	}{
		{"by the lists that are there", `true`, 0, ""},
		{"by newer lists", `[ -e updated ]`, 1, ""},
		{"not at all", `false`, 1, "dataplane: wrk cannot be had"},
		{"but one", `[ "$package" != wrk ]`, 1, "dataplane: wrk cannot be had"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			bin := filepath.Join(dir, "bin")
			require.NoError(t, os.Mkdir(bin, 0o755))
			for name, text := range map[string]string{
				"apt-get": "cd " + dir + "; echo \"$1\" >>calls; for package; do :; done; case $1 in update) touch updated;; install) " + tt.apt + ";; esac",
				"go":      `if [ "$1" = build ]; then echo '#!/bin/sh' >"$3"; chmod +x "$3"; fi`,
			} {
				require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
			}
			for _, name := range []string{"bash", "sh", "chmod", "dirname", "id", "mktemp", "rm", "timeout", "touch", "true", "uname", "unshare"} {
				path, err := exec.LookPath(name)
				require.NoError(t, err)
				require.NoError(t, os.Symlink(path, filepath.Join(bin, name)))
			}
			// An empty /usr/sbin, where the script looks, and where it puts a file.
			cmd := exec.Command("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /usr/sbin && PATH="+bin+" exec ./run")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			calls, err := os.ReadFile(filepath.Join(dir, "calls"))
			require.NoError(t, err)
			assert.Equal(t, tt.updates, strings.Count(string(calls), "update\n"), "%s", out)
			assert.Equal(t, packages+tt.updates, strings.Count(string(calls), "install\n"), "%s", out)
			assert.Equal(t, tt.cannot != "", strings.Contains(string(out), "cannot be had"), "%s", out)
			assert.Contains(t, string(out), tt.cannot)
		})
	}
}
