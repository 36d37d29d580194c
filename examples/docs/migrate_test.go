// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"encoding/json"
	"fmt"
	"go/format"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
)

var block = regexp.MustCompile("(?ms)^```(go|diff|yaml)\n(.*?)^```$")

// TestMigrationsCompile builds the programs of the pages on how to come from elsewhere,
// and what a diff makes of the one before it. Those of others are compiled in the
// module that requires them.
func TestMigrationsCompile(t *testing.T) {
	more := filepath.Join(root, "examples", "more")
	sources := map[string]map[string]string{root: {}, more: {}} // of a module: name of the file, text
	for _, page := range migrations(t) {
		var last string
		for i, b := range block.FindAllStringSubmatch(read(t, page), -1) {
			text := b[2]
			switch b[1] {
			case "yaml":
				continue
			case "diff":
				text = patched(t, last, text)
			}
			last = text
			if b[1] == "go" {
				formatted, err := format.Source([]byte(text))
				require.NoError(t, err, page)
				assert.Equal(t, string(formatted), text, page)
			}
			module := root
			if strings.Contains(text, `"github.com/oklog/run"`) {
				module = more
			}
			if strings.Contains(text, "*testing.T") { // which has its main beside it
				text = strings.Replace(text, "package main", "package beside", 1)
			}
			dir := fmt.Sprint(strings.TrimSuffix(page, ".md"), "-", i)
			sources[module][filepath.Join(dir, "main.go")] = text
		}
	}
	for module, files := range sources {
		require.NotEmpty(t, files, module)
		build(t, module, os.DevNull, files)
	}
}

// TestMigrationFromShutdown rolls the two programs of the page on plain Shutdown, as its
// last lines say that it goes.
func TestMigrationFromShutdown(t *testing.T) {
	programs := block.FindAllStringSubmatch(read(t, "migrate-shutdown.md"), 2)
	require.Len(t, programs, 2)
	lost := make([]int, 2)
	for i, p := range programs {
		program := filepath.Join(t.TempDir(), "service.exe")
		build(t, root, program, map[string]string{filepath.Join("rolled", "main.go"): p[2]})
		report, err := draintest.Roll(t.Context(), draintest.Config{
			Command: []string{program},
			Env:     []string{"SHUTDOWN_DELAY=2s"},
			Path:    "/orders",
		})
		require.NoError(t, err)
		t.Logf("program %d\n%v", i, report)
		lost[i] = report.Lost()
	}
	assert.NotZero(t, lost[0], "the baseline loses nothing, so this test tests nothing")
	assert.Zero(t, lost[1])
}

// patched returns a program in which each line that a diff takes away is replaced by
// the one that it adds, and what the comment there names is imported.
func patched(t *testing.T, program, diff string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(diff), "\n")
	require.Len(t, lines, 2)
	before, after := strings.TrimPrefix(lines[0], "-"), strings.TrimPrefix(lines[1], "+")
	require.Equal(t, 1, strings.Count(program, before))
	_, path, found := strings.Cut(after, "// ")
	require.True(t, found, "a comment that says what to import")
	return strings.Replace(strings.Replace(program, before, after, 1), "import (\n", "import (\n\t\""+path+"\"\n", 1)
}

// build builds files as if they were in folders of the module.
func build(t *testing.T, module, output string, files map[string]string) {
	t.Helper()
	module, err := filepath.Abs(module)
	require.NoError(t, err)
	temp := t.TempDir()
	overlay := make(map[string]string)
	args := []string{"build", "-o", output, "-overlay", filepath.Join(temp, "overlay.json")}
	for name, text := range files {
		path := filepath.Join(temp, strings.ReplaceAll(name, string(filepath.Separator), "-"))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		overlay[filepath.Join(module, name)] = path
		args = append(args, "./"+filepath.ToSlash(filepath.Dir(name)))
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(temp, "overlay.json"), text, 0o644))
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = module
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

// TestManifestsOfTheSleep checks those of before, between and after with the program
// that each page says belongs to it.
func TestManifestsOfTheSleep(t *testing.T) {
	var manifests []string
	for _, b := range block.FindAllStringSubmatch(read(t, "migrate-sleep.md"), -1) {
		if b[1] == "yaml" {
			manifests = append(manifests, b[2])
		}
	}
	require.Len(t, manifests, 3)
	newApp := func(preStop, floor time.Duration) *lifecycle.App {
		return &lifecycle.App{
			ProbeAddr:  ":8081",
			PreStop:    preStop,
			Floor:      floor,
			Components: []lifecycle.Component{lifecycle.HTTP("http", &http.Server{Addr: ":8080"})},
		}
	}
	check := func(app *lifecycle.App, manifest string) error {
		return kube.Check(app, []byte(manifest), yaml.Unmarshal)
	}
	assert.ErrorContains(t, check(newApp(0, 0), manifests[0]), "preStop: takes 15s of the grace period")
	assert.NoError(t, check(newApp(15*time.Second, -1), manifests[1]))
	assert.NoError(t, check(newApp(0, 0), manifests[2]))
}

func migrations(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("migrate-*.md")
	require.NoError(t, err)
	require.Len(t, found, 4)
	for _, page := range found {
		assert.LessOrEqual(t, strings.Count(read(t, page), "\n"), 120, page)
	}
	return found
}
