// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// listed is a package, or the variant of one that a test compiles, as the go command
// lists it.
type listed struct {
	ImportPath, Dir, ForTest string
	GoFiles                  []string
	ImportMap                map[string]string
	DepOnly                  bool

	files []*ast.File
	types *types.Package
	info  types.Info
}

// loader type-checks packages from their sources, so that nothing has to be compiled.
type loader struct {
	fset     *token.FileSet
	packages map[string]*listed // by path, and the test that they are a variant for
}

// load returns what the go command lists for patterns in a module, with tests.
func load(t *testing.T, module string, patterns ...string) *loader {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-test", "-deps",
		"-json=ImportPath,Dir,ForTest,GoFiles,ImportMap,DepOnly"}, patterns...)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // files that import "C" cannot be checked
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	l := &loader{fset: token.NewFileSet(), packages: make(map[string]*listed)}
	for list := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(listed)
		err := list.Decode(p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		l.packages[p.ImportPath] = p
	}
	return l
}

// check returns a package with the types of all that is in it; of one that others
// import, those outside of functions are enough.
func (l *loader) check(p *listed, imported bool) (*types.Package, error) {
	if p.types != nil {
		return p.types, nil
	}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(l.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
	}
	if !imported {
		p.info = types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	}
	var err error
	p.types, err = l.config(p.ImportMap, imported).Check(p.ImportPath, l.fset, p.files, &p.info)
	return p.types, err
}

// at returns where an object is declared, which is the same in each variant of its
// package.
func (l *loader) at(o types.Object) string { return l.fset.Position(o.Pos()).String() }

func (l *loader) config(names map[string]string, imported bool) *types.Config {
	return &types.Config{
		Importer:         importer(func(path string) (*types.Package, error) { return l.imports(names, path) }),
		IgnoreFuncBodies: imported,
		Sizes:            types.SizesFor("gc", runtime.GOARCH),
	}
}

func (l *loader) imports(names map[string]string, path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if name, mapped := names[path]; mapped {
		path = name
	}
	p := l.packages[path]
	if p == nil {
		return nil, errors.New(path + " is not among the packages")
	}
	return l.check(p, true)
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
