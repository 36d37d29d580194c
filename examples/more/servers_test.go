// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package more_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// clientsEnv makes a program of others that is not installed a failure; without it the
// tests that need one are skipped.
const clientsEnv = "LAMEDUCK_CLIENTS"

// installed returns the path of a program of others.
func installed(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
		if len(found) > 0 {
			return found[len(found)-1]
		}
		if os.Getenv(clientsEnv) != "required" {
			t.Skipf("%s is not installed: apt-get install %s", name, debian)
		}
	}
	require.NoError(t, err, debian)
	return path
}

// launch runs an example, and does not wait.
func launch(t *testing.T, name string, env ...string) *proc.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name))
	cmd.Env = append(proc.Environ(), env...)
	p, err := proc.Start(t, cmd)
	require.NoError(t, err)
	return p
}

func startRedis(t *testing.T) (b *backend, url string) {
	t.Helper()
	path, addr, dir := installed(t, "redis-server", "redis-server"), proc.FreeAddr(t), t.TempDir()
	return startBackend(t, "Ready to accept connections", os.Kill, func() *exec.Cmd {
		return exec.Command(path, "--bind", "127.0.0.1", "--port", proc.Port(addr), "--dir", dir, "--save", "")
	}), "redis://" + addr
}

// startPostgres starts PostgreSQL on an empty directory. It refuses to run as root, and
// then runs as the user that Debian's package makes. SIGQUIT ends it without a
// checkpoint, as a crash would, but takes its children with it.
func startPostgres(t *testing.T) (b *backend, url string) {
	t.Helper()
	initdb, postgres := installed(t, "initdb", "postgresql"), installed(t, "postgres", "postgresql")
	dir, err := os.MkdirTemp("", "postgres") // that of the test is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr := proc.FreeAddr(t)
	as := unprivileged(t, dir)
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		return cmd
	}
	out, err := run(initdb, "-D", dir, "-U", "postgres", "--auth=trust", "--no-sync").CombinedOutput()
	require.NoError(t, err, string(out))
	return startBackend(t, "ready to accept connections", syscall.SIGQUIT, func() *exec.Cmd {
		return run(postgres, "-D", dir, "-p", proc.Port(addr), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	}), "postgres://postgres@" + addr + "/postgres?sslmode=disable"
}

// unprivileged gives a directory to the user postgres, and returns what makes a process
// that user's, if the test runs as root.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
