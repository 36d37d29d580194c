// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const library = "github.com/lameduck-go/lameduck"

// A copy of this directory is a module of its own after the commands of README.md,
// with the library from a proxy that has it.
func TestCopy(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, own, found := strings.Cut(string(readme), "## In a repository of your own")
	require.True(t, found)
	commands := regexp.MustCompile(`(?m)^    (go .*)$`).FindAllStringSubmatch(own, -1)
	require.Len(t, commands, 2)

	out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	require.NoError(t, err)
	cache, others, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	downloads := filepath.Join(strings.TrimSpace(cache), "cache", "download")
	env := append(os.Environ(), "GOMODCACHE="+t.TempDir(), "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOWORK=off",
		"GOPROXY=file://"+filepath.ToSlash(publish(t))+",file://"+filepath.ToSlash(downloads)+","+others)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(".")))
	run := func(argv ...string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", strings.Join(argv, " "), out)
	}
	for _, c := range commands {
		run(strings.Fields(c[1])...)
	}
	run("go", "test", "-run", "TestManifests", ".")
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	assert.NotContains(t, string(gomod), "replace")
}

// publish returns a module proxy that has the library of this repository.
func publish(t *testing.T) string {
	const version = "v0.0.1-test"
	proxy := t.TempDir()
	at := filepath.Join(proxy, library, "@v")
	require.NoError(t, os.MkdirAll(at, 0o755))
	root := os.DirFS("../..")
	gomod, err := fs.ReadFile(root, "go.mod")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"list": version, version + ".info": `{"Version": "` + version + `"}`, version + ".mod": string(gomod),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(at, name), []byte(content), 0o644))
	}
	file, err := os.Create(filepath.Join(at, version+".zip"))
	require.NoError(t, err)
	defer file.Close()
	archive := zip.NewWriter(file)
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := fs.Stat(root, path.Join(name, "go.mod"))
			if name != "." && (nested == nil || name == "examples" || strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if name != "go.mod" && (path.Ext(name) != ".go" || !d.Type().IsRegular()) {
			return nil
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		w, err := archive.Create(library + "@" + version + "/" + name)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}))
	require.NoError(t, archive.Close())
	return proxy
}
