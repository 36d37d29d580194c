// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package examples_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the page on security names is there: each test, each exported name, and each file.
func TestSecurityPage(t *testing.T) {
	const dir = "../.github"
	b, err := os.ReadFile(filepath.Join(dir, "SECURITY.md"))
	require.NoError(t, err)
	page := string(b)
	tests := testsOf(t, "..")
	var named int
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(page, -1) {
		assert.Contains(t, tests, m[1])
		named++
	}
	assert.Greater(t, named, 40)
	for name := range tests {
		if strings.HasPrefix(name, "TestSecurity") && name != t.Name() {
			assert.Contains(t, page, "`"+name+"`", "it is a test of a sentence")
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "https://") {
			assert.FileExists(t, filepath.Join(dir, m[1]))
		}
	}
	api, err := os.ReadFile("../internal/api/api.txt")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("`(probes|lifecycle|drain|kube)\\.((?:\\w+\\.)?\\w+)`").FindAllStringSubmatch(page, -1) {
		assert.Regexp(t, `(?m)^\S*`+m[1]+`: \w+ `+regexp.QuoteMeta(m[2])+`\b`, string(api))
	}
}

// testsOf returns the names of the tests and fuzz targets beneath a directory.
func testsOf(t *testing.T, root string) map[string]bool {
	names := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(b), -1) {
			names[m[1]] = true
		}
		return err
	}))
	return names
}
