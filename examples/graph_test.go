// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package examples_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/lameduck-go/lameduck"

// required is what the module requires for code of its own; what these bring is all
// that a user's go.sum gets besides.
var required = []string{
	"github.com/go-chi/chi/v5",
	"github.com/heptiolabs/healthcheck",
	"github.com/stretchr/testify",
	"go.uber.org/goleak",
	"golang.org/x/sync",
}

// healthcheckImports is what healthcheck needs: it has no go.mod that would say so.
var healthcheckImports = []string{"github.com/prometheus/client_golang", "gopkg.in/DATA-DOG/go-sqlmock.v1"}

// TestNestedModulesAddNothing: what the examples and tools in modules of their own
// require is in no graph of who requires this one.
func TestNestedModulesAddNothing(t *testing.T) {
	direct, _ := requirements(t, "..")
	assert.ElementsMatch(t, required, direct, "another one needs a reason")

	graph := make(map[string][]string) // without versions
	for line := range strings.Lines(goCommand(t, "..", "mod", "graph")) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		from, _, _ = strings.Cut(from, "@")
		to, _, _ = strings.Cut(to, "@")
		graph[from] = append(graph[from], to)
	}
	brought := make(map[string]bool)
	var visit func(string)
	visit = func(path string) {
		if !brought[path] {
			brought[path] = true
			for _, to := range graph[path] {
				visit(to)
			}
		}
	}
	for _, path := range append(required, healthcheckImports...) {
		visit(path)
	}
	for _, path := range graph[module] {
		assert.True(t, brought[path] || path == "go", "%s is brought by none of %s", path, required)
	}

	nested := 0
	for _, dir := range nestedModules(t) {
		direct, indirect := requirements(t, dir)
		for _, path := range append(direct, indirect...) {
			if path != module && !brought[path] {
				nested++
				assert.NotContains(t, graph[module], path, "%s requires it", dir)
			}
		}
	}
	assert.Greater(t, nested, 50, "the nested modules are not found, so this test tests nothing")
}

// requirements returns what the go.mod of a directory requires.
func requirements(t *testing.T, dir string) (direct, indirect []string) {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(goCommand(t, dir, "mod", "edit", "-json")), &mod))
	for _, r := range mod.Require {
		if r.Indirect {
			indirect = append(indirect, r.Path)
		} else {
			direct = append(direct, r.Path)
		}
	}
	return direct, indirect
}

// nestedModules returns the directories of the other modules of the repository.
func nestedModules(t *testing.T) (dirs []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if dir := filepath.Dir(path); err == nil && d.Name() == "go.mod" && dir != ".." {
			dirs = append(dirs, dir)
		}
		return err
	}))
	return dirs
}

func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return string(out)
}
