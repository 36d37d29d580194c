// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const theirModule = "github.com/heptiolabs/healthcheck"

// The package that their tests are put into: of theirs it has everything but the
// constructor, so that no byte of the tests has to be changed.
const suite = `package healthcheck

import (
	theirs "github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes/heptio"
)

type Handler = theirs.Handler

var (
	Async               = theirs.Async
	AsyncWithContext    = theirs.AsyncWithContext
	Timeout             = theirs.Timeout
	TCPDialCheck        = theirs.TCPDialCheck
	HTTPGetCheck        = theirs.HTTPGetCheck
	DNSResolveCheck     = theirs.DNSResolveCheck
	DatabasePingCheck   = theirs.DatabasePingCheck
	GoroutineCountCheck = theirs.GoroutineCountCheck
	NewMetricsHandler   = theirs.NewMetricsHandler
)

func NewHandler() Handler { return heptio.NewHandler(nil) }
`

// The tests of heptiolabs/healthcheck that are about the Handler pass with ours.
//
// Left out are the examples that ask the internet, the one of the metrics handler
// and its tests, which need a client of Prometheus from before 1.0, and the tests
// of what is not ours to build: Async, Timeout and the ready-made checks.
func TestTheirSuite(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	theirs := strings.TrimSpace(golang(t, root, "list", "-m", "-f", "{{.Dir}}", theirModule))
	require.NotEmpty(t, theirs, "the module cache does not have "+theirModule)

	// A module with the requirements of this one, and this one.
	dir := t.TempDir()
	copyFile(t, filepath.Join(root, "go.sum"), filepath.Join(dir, "go.sum"))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	own := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(mod)
	require.NotNil(t, own)
	write(t, filepath.Join(dir, "go.mod"), strings.Replace(string(mod), string(own[0]), "module suite", 1)+
		"\nrequire "+string(own[1])+" v0.0.0\nreplace "+string(own[1])+" => "+quote(root)+"\n")
	write(t, filepath.Join(dir, "suite.go"), suite)
	for _, name := range []string{"handler_test.go", "example_test.go"} {
		copyFile(t, filepath.Join(theirs, name), filepath.Join(dir, name))
	}

	args := []string{"test", "-mod=mod", "-count=1", "-v", "-run", "^(TestNewHandler|Example_database)$"}
	if raced() {
		args = append(args, "-race") // what is compiled already
	}
	out := golang(t, dir, append(args, ".")...)
	assert.Contains(t, out, "--- PASS: TestNewHandler/with_a_failing_liveness_check,_/ready_should_fail")
	assert.Contains(t, out, "--- PASS: Example_database")
}

// golang runs the go command and returns what it prints.
func golang(t *testing.T, dir string, args ...string) string {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), out)
	return string(out)
}

func write(t *testing.T, name, data string) {
	require.NoError(t, os.WriteFile(name, []byte(data), 0o600))
}

func copyFile(t *testing.T, from, to string) {
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	write(t, to, string(data))
}

// quote makes a path one word of a go.mod.
func quote(path string) string { return `"` + filepath.ToSlash(path) + `"` }

// raced reports whether the test is run by go test -race.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
