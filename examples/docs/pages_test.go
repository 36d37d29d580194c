// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	testName  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)\\w+)`")
	command   = regexp.MustCompile(`(?m)^    (?:cd (\S+) && )?go test -run '\^(\S*)\$'(?: -bench '\^(\S+)\$')? (\S+)$`)
	function  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
	anyTest   = regexp.MustCompile(`(?m)^    .*\bgo test\b.*$`)
	target    = regexp.MustCompile("`make (\\w+)`")
	link      = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	exported  = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	declares  = regexp.MustCompile(`(?m)^(?:func |type |\t)([A-Z]\w*)`)
	code      = regexp.MustCompile("(?ms)^```.*?^```$")
	backticks = regexp.MustCompile("`([\\w./-]+/[\\w.-]+\\.(?:go|md|yaml|sh))`")
)

// TestWhatPagesName reads every page of the repository: what it names is there.
func TestWhatPagesName(t *testing.T) {
	makefile := read(t, filepath.Join(root, "Makefile"))
	declared := make(map[string]map[string]bool) // of a package: its names
	for _, dir := range publicPackages(t) {
		names := make(map[string]bool)
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			for _, m := range declares.FindAllStringSubmatch(read(t, file), -1) {
				names[m[1]] = true
			}
		}
		declared[filepath.Base(dir)] = names
	}
	tests := make(map[string]bool)
	for _, file := range filesOf(t, "_test.go") {
		for _, m := range function.FindAllStringSubmatch(read(t, file), -1) {
			tests[m[1]] = true
		}
	}
	for _, page := range allPages(t) {
		t.Run(page, func(t *testing.T) {
			text := read(t, page)
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				if !strings.Contains(m[1], "://") {
					assert.True(t, exists(filepath.Dir(page), m[1]), m[1])
				}
			}
			for _, m := range backticks.FindAllStringSubmatch(text, -1) {
				assert.True(t, exists(root, m[1]) || exists(filepath.Dir(page), m[1]), m[1])
			}
			for _, m := range exported.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
				if names := declared[m[1]]; names != nil {
					assert.True(t, names[m[2]], "%s is not declared", m[0])
				}
			}
			for _, m := range testName.FindAllStringSubmatch(text, -1) {
				assert.True(t, tests[m[1]], "there is no %s", m[1])
			}
			for _, m := range target.FindAllStringSubmatch(text, -1) {
				assert.Contains(t, makefile, "\n"+m[1]+":")
			}
		})
	}
}

// TestWhatPromisesName reads the pages of the promises: each test that one names is run
// by one of its commands, each of whose tests it names, and each is where the command
// says.
func TestWhatPromisesName(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		if filepath.Dir(page) != "promises" {
			continue
		}
		t.Run(page, func(t *testing.T) {
			text := read(t, page)
			prose, _, _ := strings.Cut(text, "## Run them")
			var named, run []string
			for _, m := range testName.FindAllStringSubmatch(prose, -1) {
				named = append(named, m[1])
			}
			commands := command.FindAllStringSubmatch(text, -1)
			assert.Len(t, anyTest.FindAllString(text, -1), len(commands), "commands of the form that is read here")
			for _, m := range commands {
				dir := filepath.Join(root, m[1], m[4])
				for name := range strings.SplitSeq(strings.Trim(m[2], "()")+"|"+m[3], "|") {
					if name == "" {
						continue
					}
					run = append(run, name)
					assert.True(t, hasTest(t, dir, name), "%s is not in %s", name, dir)
				}
			}
			slices.Sort(named)
			slices.Sort(run)
			assert.Equal(t, slices.Compact(named), slices.Compact(run))
			found += len(run)
		})
	}
	assert.NotZero(t, found)
}

// hasTest reports whether a test of the package in dir has that name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	return slices.ContainsFunc(files, func(file string) bool {
		return strings.Contains(read(t, file), "\nfunc "+name+"(")
	})
}

// TestReadmeShowsTheExample: the main of the README is that of an example, which is
// compiled, comments aside.
func TestReadmeShowsTheExample(t *testing.T) {
	body := func(text, begin, end string) string {
		_, text, found := strings.Cut(text, begin)
		require.True(t, found, begin)
		text, _, found = strings.Cut(text, end)
		require.True(t, found, begin)
		return regexp.MustCompile(`\s*//.*`).ReplaceAllString(text, "")
	}
	assert.Equal(t,
		body(read(t, filepath.Join(root, "lifecycle", "example_test.go")), "func ExampleMain() {\n", "\n}\n"),
		body(read(t, filepath.Join(root, "README.md")), "func main() {\n", "\n}\n"))
}

// TestItIsSmall holds the sixth promise: files that can be read at one sitting, and no
// requirement that is not known.
func TestItIsSmall(t *testing.T) {
	for _, dir := range publicPackages(t) {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				assert.Less(t, strings.Count(read(t, file), "\n"), 400, file)
			}
		}
	}
	var required []string
	block, _, _ := strings.Cut(strings.SplitN(read(t, filepath.Join(root, "go.mod")), "require (\n", 2)[1], ")")
	for line := range strings.Lines(block) {
		required = append(required, strings.Fields(line)[0])
	}
	assert.Equal(t, []string{
		"github.com/go-chi/chi/v5", // in examples and tests
		"github.com/heptiolabs/healthcheck",
		"github.com/stretchr/testify", // in tests
		"go.uber.org/goleak",          // in tests
		"golang.org/x/sync",           // in tests
	}, required)
}

// pages returns the pages of this folder and of those in it.
func pages(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		names = append(names, found...)
	}
	require.NotEmpty(t, names)
	return names
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// allPages returns those of the repository, but for the one that speaks of the past.
func allPages(t *testing.T) []string {
	t.Helper()
	names := slices.DeleteFunc(filesOf(t, ".md"), func(name string) bool { return filepath.Base(name) == "CHANGELOG.md" })
	require.Greater(t, len(names), len(pages(t)))
	return names
}

// filesOf returns the files of the repository whose names end so.
func filesOf(t *testing.T, end string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case strings.HasSuffix(path, end):
			names = append(names, path)
		}
		return nil
	})
	require.NoError(t, err)
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
