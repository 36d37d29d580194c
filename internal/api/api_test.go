// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func listing(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// TestAPI: what the module exports is what api.txt says, and nothing of the last
// release is gone without a word.
func TestAPI(t *testing.T) {
	now, err := exported("../..")
	require.NoError(t, err)
	const update = "run make api; it writes internal/api/api.txt"
	said := listing(read(t, "api.txt"))
	assert.Empty(t, without(now, said), "new: "+update)
	assert.Empty(t, without(said, now), "gone: "+update)
	assert.True(t, slices.IsSorted(said), update)

	releases, err := filepath.Glob("v*.txt")
	require.NoError(t, err)
	if len(releases) == 0 {
		t.Log("there is no release to compare with")
		return
	}
	last := slices.MaxFunc(releases, func(a, b string) int { return slices.Compare(version(t, a), version(t, b)) })
	assert.Empty(t, untold(listing(read(t, last)), now, read(t, "../../CHANGELOG.md")),
		"in "+last+" and not now: say so in CHANGELOG.md, under Changed or Removed of Unreleased, with the name in backquotes")
}

func version(t *testing.T, file string) (numbers []int) {
	for number := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(file, "v"), ".txt"), ".") {
		n, err := strconv.Atoi(number)
		require.NoError(t, err, file)
		numbers = append(numbers, n)
	}
	return numbers
}

// source is a package with a bit of everything.
const source = `package p

const (
	A, b = 1, 2
	C T = iota
	D
	e
)

var V, w int
var ErrX = errors.New("x")

type T int
type Alias = T
type F func(a, b string) (err error)
type S[K comparable] struct {
	X, y int
	J    string ` + "`json:\"j\"`" + `
	M    func(ctx context.Context, names ...string) error
	*T
	hidden
}
type I interface {
	Do(ctx context.Context) (n int, err error)
	io.Closer
	do()
}
type hidden struct{ Z int }

func Make[K, V any](m map[K]V, f interface{ Handle(pattern string) }) *T { return nil }
func (t *T) Get(i int) {}
func (t T) get()       {}
func (hidden) Get()    {}
func help()            {}
`

func TestExported(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p/p.go": source, "p/p_test.go": "package p\nfunc InTest() {}\n", "p/p_windows.go": "package p\nfunc OnWindows() {}\n",
		"p/internal/i.go": "package i\nfunc Inside() {}\n", "examples/e.go": "package e\nfunc Example() {}\n", "p/q/q.go": "package q\nvar Q string\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	lines, err := exported(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"p/q: var Q string",
		"p: const A = 1",
		"p: const C T = iota",
		"p: const D T",
		"p: field S.J string `json:\"j\"`",
		"p: field S.M func(context.Context, ...string) error",
		"p: field S.T embedded *T",
		"p: field S.X int",
		"p: field S.hidden embedded hidden",
		"p: func Make[K any, V any](map[K]V, interface{Handle(string)}) *T",
		"p: func OnWindows()",
		"p: method (*T).Get(int)",
		"p: method I.Closer embedded io.Closer",
		"p: method I.Do(context.Context) (int, error)",
		"p: type Alias = T",
		"p: type F func(string, string) error",
		"p: type I interface",
		"p: type S[K comparable] struct",
		"p: type T int",
		"p: var ErrX",
		"p: var V int",
	}, lines)
	for _, line := range lines {
		_, name := subject(line)
		assert.NotEmpty(t, name)
	}
}

// A name that is gone, or is something else now, has to be told; a new one need not.
func TestUntold(t *testing.T) {
	release := listing(`p: const A = 1
p: field S.X int
p: func Make()
p: method (*T).Get(int)
p: type T int`)
	now := listing(`p: const A = 2
p: func New()
p: method (*T).Get(int)`)
	const head = "# Changelog\n\n## [Unreleased]\n\n"
	for name, tt := range map[string]struct {
		changelog string
		want      []string
	}{
		"nothing":       {head, []string{"p: const A = 1", "p: field S.X int", "p: func Make()", "p: type T int"}},
		"all":           {head + "### Changed\n\n- `p`: `A` is 2.\n\n### Removed\n\n- `p`: `S.X`, `p.Make` and\n  `T`.\n", nil},
		"added only":    {head + "### Added\n\n- `A`, `X`, `Make`, `T`.\n", []string{"p: const A = 1", "p: field S.X int", "p: func Make()", "p: type T int"}},
		"not by name":   {head + "### Removed\n\n- `p`: A, X, Make, `T`\n", []string{"p: const A = 1", "p: field S.X int", "p: func Make()"}},
		"a longer name": {head + "### Removed\n\n- `p`: `AX`, `XX`, `Maker`, `Time`\n", []string{"p: const A = 1", "p: field S.X int", "p: func Make()", "p: type T int"}},
		"qualified":     {head + "### Removed\n\n- `a/p.A`, `p.S.X`, `p.Make` and `p.T`\n", nil},
		"of another":    {head + "### Removed\n\n- `kube`: `A`, `kube.X`, `Make`, `T`, and not `p`\n- `p`: `kube.A`, `kube.X`, `kube.Make`, `kube.T`\n", []string{"p: const A = 1", "p: field S.X int", "p: func Make()", "p: type T int"}},
		"before":        {head + "## [0.1.0]\n\n### Removed\n\n- `A`, `X`, `Make`, `T`\n", []string{"p: const A = 1", "p: field S.X int", "p: func Make()", "p: type T int"}},
	} {
		assert.Equal(t, tt.want, untold(release, now, tt.changelog), name)
	}
	assert.Empty(t, untold(now, append(now, "p: func Newer()"), head))
}
