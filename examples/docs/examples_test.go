// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryExportedTypeHasAnExample reads the public packages: each exported type has an
// example of its own, or of one of its methods, whose output is compared.
func TestEveryExportedTypeHasAnExample(t *testing.T) {
	types := 0
	for _, dir := range publicPackages(t) {
		p := parse(t, dir)
		for _, typ := range p.Types {
			types++
			examples := typ.Examples
			for _, m := range typ.Methods {
				examples = append(examples, m.Examples...)
			}
			assert.True(t, slices.ContainsFunc(examples, func(e *doc.Example) bool { return e.Output != "" }),
				"%s.%s has no example with an output", p.Name, typ.Name)
		}
	}
	assert.GreaterOrEqual(t, types, 30, "exported types that were found")
}

// publicPackages returns the directories of the packages that a user may import.
func publicPackages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"examples", "internal", "testdata"}, d.Name())):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go") && !slices.Contains(dirs, filepath.Dir(path)):
			dirs = append(dirs, filepath.Dir(path))
		}
		return nil
	})
	require.NoError(t, err)
	return dirs
}

// parse returns what a package documents, with the examples of its tests.
func parse(t *testing.T, dir string) *doc.Package {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/lameduck-go/lameduck/"+filepath.ToSlash(dir))
	require.NoError(t, err, dir)
	return p
}
