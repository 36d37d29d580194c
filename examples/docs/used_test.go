// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"go/ast"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryExportedNameIsInAnExample type-checks the public packages: each exported
// function, method, field, constant and variable is used by an example of a package, by
// what stands beside one in a file of examples, or by one of the programs to copy that are
// in this module. A name is what it resolves to: the Name of one type does not stand for
// that of another.
func TestEveryExportedNameIsInAnExample(t *testing.T) {
	names := make(map[string]string) // of what is exported, by where it is declared
	used := make(map[string]bool)
	l := load(t, root, "./...")
	for path, p := range l.packages {
		dir, ours := strings.CutPrefix(path, "github.com/lameduck-go/lameduck/")
		program := strings.HasPrefix(dir, "examples/")
		switch {
		case !ours || p.DepOnly || strings.HasPrefix(dir, "internal/"):
		case !program && p.ForTest == "" && !strings.HasSuffix(path, ".test"):
			checked, err := l.check(p, true)
			require.NoError(t, err)
			for o, name := range exportedBy(checked) {
				names[l.at(o)] = dir + ": " + name
			}
		case program && p.ForTest == "" && !strings.HasSuffix(path, ".test"), !program && strings.Contains(path, "_test ["):
			_, err := l.check(p, false)
			require.NoError(t, err)
			for _, f := range p.files {
				shown(filepath.Base(l.fset.Position(f.Pos()).Filename), f, func(id *ast.Ident) {
					if o := p.info.Uses[id]; o != nil {
						used[l.at(o)] = true
					}
				})
			}
		}
	}
	assert.GreaterOrEqual(t, len(names), 250, "exported names that were found")
	for at, name := range names {
		assert.True(t, used[at], "%s is in no example", name)
	}
}

// exportedBy returns what a package exports, but for types, for the methods of an
// interface, which are the user's to write and the package's to call, and for those that
// net/http, log/slog, errors and fmt call.
func exportedBy(p *types.Package) map[types.Object]string {
	all := make(map[types.Object]string)
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		typ, isType := o.(*types.TypeName)
		if !isType {
			all[o] = name
			continue
		}
		if s, ok := typ.Type().Underlying().(*types.Struct); ok {
			for f := range s.Fields() {
				if f.Exported() {
					all[f] = name + "." + f.Name()
				}
			}
		}
		if named, ok := typ.Type().(*types.Named); ok {
			for m := range named.Methods() {
				if m.Exported() && !slices.Contains([]string{"ServeHTTP", "LogValue", "Error", "Unwrap", "String"}, m.Name()) {
					all[m] = name + "." + m.Name()
				}
			}
		}
	}
	return all
}

// shown calls use with each name in what a file shows to users: a program all of it, and
// so does a file of examples; of other tests that is the examples.
func shown(file string, f *ast.File, use func(*ast.Ident)) {
	for _, d := range f.Decls {
		if strings.HasSuffix(file, "_test.go") && !strings.Contains(file, "example") {
			if fn, ok := d.(*ast.FuncDecl); !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				use(id)
			}
			return true
		})
	}
}
