// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package docs_test

import (
	"go/ast"
	"go/token"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/assert/yaml"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/kube"
	"github.com/lameduck-go/lameduck/probes"
)

// TestErrorsNameTheirPackage reads the public packages: the text of each exported error
// begins with the name of its package, in a log where others have written too.
func TestErrorsNameTheirPackage(t *testing.T) {
	found := make(map[string]string)
	for _, dir := range publicPackages(t) {
		p := parse(t, dir)
		for _, v := range p.Vars {
			for _, spec := range v.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, name := range spec.Names {
					if !strings.HasPrefix(name.Name, "Err") {
						continue
					}
					require.Len(t, spec.Values, len(spec.Names))
					call, ok := spec.Values[i].(*ast.CallExpr)
					require.True(t, ok, name.Name)
					lit, ok := call.Args[0].(*ast.BasicLit)
					require.True(t, ok && lit.Kind == token.STRING, name.Name)
					text, err := strconv.Unquote(lit.Value)
					require.NoError(t, err)
					found[p.Name+"."+name.Name] = text
					assert.True(t, strings.HasPrefix(text, p.Name+": "), "%s.%s: %q", p.Name, name.Name, text)
				}
			}
		}
	}
	assert.Equal(t, []string{"drain.ErrCut", "drain.ErrDraining", "lifecycle.ErrConfig", "lifecycle.ErrDeadline",
		"lifecycle.ErrStart", "probes.ErrInvalid"}, slices.Sorted(maps.Keys(found)))
}

// TestMisuseNamesThePackage asks each function for what it cannot do.
func TestMisuseNamesThePackage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var (
		registry probes.Registry
		tracker  drain.Tracker
		nobody   *lifecycle.App
	)
	require.NoError(t, tracker.Drain(t.Context()))
	for call, err := range map[string]error{
		"drain: Server.Serve":    new(drain.Server).Serve(l),
		"drain: Server.ServeTLS": new(drain.Server).ServeTLS(l, "", ""),
		"drain: Tracker.Start":   third(tracker.Start(t.Context(), "late")),

		"draintest: Roll": second(draintest.Roll(t.Context(), draintest.Config{})),

		"lifecycle: App.Run":                               nobody.Run(t.Context()),
		"lifecycle: App.Plan":                              second(nobody.Plan()),
		"lifecycle: Activated":                             second(lifecycle.Activated("web")(t.Context())),
		"lifecycle: kube.Check, of an App that cannot run": kube.Check(nil, nil, yaml.Unmarshal),
		"kube: Stanza":                                     second(kube.Stanza(new(lifecycle.App), "orders")),

		"probes: Registry.AddReadiness": registry.AddReadiness(probes.Check{}),
		"probes: Registry.AddLiveness":  registry.AddLiveness("", nil),
		"probes: Registry.AddLock":      registry.AddLock("", nil, 0),
		"probes: Registry.AddHeartbeat": second(registry.AddHeartbeat("", 0)),
		"probes: Registry.Expect":       second(registry.Expect("")),
		"probes: Registry.ServeTCP":     registry.ServeTCP(t.Context(), "nowhere"),
	} {
		pkg, _, _ := strings.Cut(call, " ")
		if assert.Error(t, err, call) {
			assert.True(t, strings.HasPrefix(err.Error(), pkg+" "), "%s returns %v", call, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }
