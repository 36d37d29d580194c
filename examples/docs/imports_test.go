// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPublicPackagesAreStandard: what they import, and so all that they can take and give,
// is of the standard library or of this module. The one that is a bridge to another
// library is imported by none of the others.
func TestPublicPackagesAreStandard(t *testing.T) {
	const module, bridge, bridged = "github.com/lameduck-go/lameduck/", "probes/heptio", "github.com/heptiolabs/healthcheck"
	imports := 0
	for _, file := range filesOf(t, ".go") {
		name, err := filepath.Rel(root, file)
		require.NoError(t, err)
		dir := filepath.ToSlash(filepath.Dir(name))
		switch first, _, _ := strings.Cut(dir, "/"); {
		case strings.HasSuffix(name, "_test.go"), first != "drain" && first != "lifecycle" && first != "probes" && first != ".":
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			imports++
			if path == bridged && dir == bridge {
				continue
			}
			host, _, _ := strings.Cut(path, "/")
			assert.True(t, !strings.Contains(host, ".") || strings.HasPrefix(path, module), "%s imports %s", name, path)
			assert.NotEqual(t, module+bridge, path, name)
		}
	}
	assert.Greater(t, imports, 200, "imports that were found")
}
