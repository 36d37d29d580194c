// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCodeOfPagesCompiles reads every page of the repository: all Go code is formatted,
// and compiles, in parts with the imports of what it names, and beside the store that
// the README says is the reader's own.
func TestCodeOfPagesCompiles(t *testing.T) {
	_, store, found := strings.Cut(read(t, filepath.Join(root, "lifecycle", "example_test.go")), "\ntype store ")
	require.True(t, found)
	store, _, found = strings.Cut("\ntype store "+store, "\n\n// ")
	require.True(t, found)

	files := make(map[string]string)
	var elsewhere []string
	for _, page := range allPages(t) {
		blocks := block.FindAllStringSubmatch(read(t, page), -1)
		for i, b := range blocks {
			if b[1] != "go" {
				continue
			}
			formatted, err := format.Source([]byte(b[2]))
			require.NoError(t, err, page)
			assert.Equal(t, string(formatted), b[2], page)
			if name := filepath.Base(page); strings.HasPrefix(name, "migrate-") || name == "COMPARED.md" {
				elsewhere = append(elsewhere, name)
				continue
			}
			text := b[2]
			if strings.Contains(text, "&store{}") {
				text += store
			}
			files[filepath.Join(fmt.Sprint(filepath.Base(page), "-", i), "main.go")] = whole(t, text)
		}
		assert.Equal(t, strings.Count(read(t, page), "```go"), strings.Count(fmt.Sprint(blocks), "[```go"), "%s: code that is not read here", page)
	}
	require.Len(t, files, 2, "parts that were found")
	build(t, root, os.DevNull, files)
	// TestMigrationsCompile compiles those of the first four; COMPARED.md shows programs of
	// examples, word for word: TestComparedIsTheProgram and TestComparedIsWhatIsCompiled.
	assert.Equal(t, []string{"migrate-healthcheck.md", "migrate-run.md", "migrate-shutdown.md", "migrate-sleep.md", "COMPARED.md"},
		slices.Compact(elsewhere))
}

// whole makes a file of a part of one, which imports what it names.
func whole(t *testing.T, part string) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+part, 0)
	require.NoError(t, err, part)
	known := []string{"context", "fmt", "net/http", "testing"}
	for _, dir := range publicPackages(t) {
		rel, err := filepath.Rel(root, dir)
		require.NoError(t, err)
		known = append(known, "github.com/lameduck-go/lameduck/"+filepath.ToSlash(rel))
	}
	paths := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(f.Unresolved, x) {
				i := slices.IndexFunc(known, func(known string) bool { return path.Base(known) == x.Name })
				if assert.GreaterOrEqual(t, i, 0, "%s: what is it?", x.Name) {
					paths[known[i]] = true
				}
			}
		}
		return true
	})
	head := "package beside\n"
	if strings.Contains(part, "func main() {") {
		head = "package main\n"
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		head += fmt.Sprintf("import %q\n", p)
	}
	return head + part
}
