// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package graph_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/graph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nodes []graph.Node
		want  string
	}{
		{"empty", nil, ""},
		{"diamond", []graph.Node{{"a", nil}, {"b", []string{"a"}}, {"c", []string{"a"}}, {"d", []string{"b", "c"}}}, ""},
		{"duplicate", []graph.Node{{"a", nil}, {"a", nil}}, `duplicate name "a"`},
		{"unknown", []graph.Node{{"a", []string{"b"}}}, `"a" depends on "b", which does not exist`},
		{"itself", []graph.Node{{"a", []string{"a"}}}, "dependency cycle: a -> a"},
		{"long way round", []graph.Node{{"x", []string{"a"}}, {"a", []string{"b"}}, {"b", []string{"c"}}, {"c", []string{"a"}}},
			"dependency cycle: a -> b -> c -> a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := graph.Check(tt.nodes)
			if tt.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, tt.want)
		})
	}
}

func TestHeight(t *testing.T) {
	got := graph.Height([]graph.Node{{"d", []string{"b", "a"}}, {"b", []string{"a"}}, {"a", nil}})
	assert.Equal(t, map[string]int{"a": 0, "b": 1, "d": 2}, got)
}
