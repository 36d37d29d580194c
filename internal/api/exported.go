// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

// exportedBy returns the API of one package, for all systems.
func exportedBy(dir, pkg string) (lines []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if name := f.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, unname)
		for _, d := range parsed.Decls {
			for _, line := range declared(d) {
				lines = append(lines, pkg+": "+line)
			}
		}
	}
	return lines, nil
}

// unname takes the names of parameters and results away, which callers do not depend on.
func unname(n ast.Node) bool {
	if f, ok := n.(*ast.FuncType); ok {
		for _, list := range []*ast.FieldList{f.Params, f.Results} {
			if list == nil {
				continue
			}
			var all []*ast.Field
			for _, field := range list.List {
				for range max(1, len(field.Names)) {
					all = append(all, &ast.Field{Type: field.Type})
				}
			}
			list.List = all
		}
	}
	return true
}

func declared(d ast.Decl) (lines []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return function(d)
	case *ast.GenDecl:
		var last ast.Expr // the type of a constant is that of the one before it
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				lines = append(lines, typed(s)...)
			case *ast.ValueSpec:
				if s.Type != nil || s.Values != nil {
					last = s.Type
				}
				lines = append(lines, values(d.Tok, s, last)...)
			}
		}
	}
	return lines
}

func function(d *ast.FuncDecl) []string {
	if !d.Name.IsExported() {
		return nil
	}
	signature := parameters(d.Type.TypeParams) + strings.TrimPrefix(types.ExprString(d.Type), "func")
	if d.Recv == nil {
		return []string{"func " + d.Name.Name + signature}
	}
	recv := types.ExprString(d.Recv.List[0].Type)
	if !ast.IsExported(strings.TrimPrefix(recv, "*")) {
		return nil
	}
	return []string{"method (" + recv + ")." + d.Name.Name + signature}
}

// parameters returns the type parameters.
func parameters(list *ast.FieldList) string {
	if list == nil {
		return ""
	}
	var all []string
	for _, f := range list.List {
		for _, name := range f.Names {
			all = append(all, name.Name+" "+types.ExprString(f.Type))
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// values returns constants with their values, and variables with what is said of their
// types.
func values(tok token.Token, s *ast.ValueSpec, of ast.Expr) (lines []string) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if of != nil {
			line += " " + types.ExprString(of)
		}
		if tok == token.CONST && i < len(s.Values) {
			line += " = " + types.ExprString(s.Values[i])
		}
		lines = append(lines, line)
	}
	return lines
}

// typed returns a type, with its fields or methods in lines of their own.
func typed(s *ast.TypeSpec) []string {
	if !s.Name.IsExported() {
		return nil
	}
	head := "type " + s.Name.Name + parameters(s.TypeParams)
	if s.Assign.IsValid() {
		head += " ="
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		return append([]string{head + " struct"}, members("field ", s.Name.Name, t.Fields)...)
	case *ast.InterfaceType:
		return append([]string{head + " interface"}, members("method ", s.Name.Name, t.Methods)...)
	default:
		return []string{head + " " + types.ExprString(t)}
	}
}

func members(what, of string, list *ast.FieldList) (lines []string) {
	for _, f := range list.List {
		text := types.ExprString(f.Type)
		if f.Names == nil { // embedded
			lines = append(lines, what+of+"."+text[strings.LastIndexAny(text, "*.")+1:]+" embedded "+text)
		}
		for _, name := range f.Names {
			if !name.IsExported() {
				continue
			}
			line := what + of + "." + name.Name
			if what == "method " {
				line += strings.TrimPrefix(text, "func")
			} else {
				line += " " + text
			}
			if f.Tag != nil {
				line = strings.TrimSpace(line + " " + cmp.Or(f.Tag.Value, ""))
			}
			lines = append(lines, line)
		}
	}
	return lines
}
