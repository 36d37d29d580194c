// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package graph checks and orders named things that depend on one another.
package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Node is a name and the names that it depends on.
type Node struct {
	Name      string
	DependsOn []string
}

// Check reports every duplicate name, every dependency on an unknown name, and
// the first cycle with its path written out. The errors are joined.
func Check(nodes []Node) error {
	byName := make(map[string]Node, len(nodes))
	var errs []error
	for _, n := range nodes {
		if _, ok := byName[n.Name]; ok {
			errs = append(errs, fmt.Errorf("duplicate name %q", n.Name))
			continue
		}
		byName[n.Name] = n
	}
	for _, n := range nodes {
		for _, d := range n.DependsOn {
			if _, ok := byName[d]; !ok {
				errs = append(errs, fmt.Errorf("%q depends on %q, which does not exist", n.Name, d))
			}
		}
	}
	if path := cycle(nodes, byName); path != nil {
		errs = append(errs, fmt.Errorf("dependency cycle: %s", strings.Join(path, " -> ")))
	}
	return errors.Join(errs...)
}

// cycle returns the path of a cycle, its first name repeated at the end, or nil.
func cycle(nodes []Node, byName map[string]Node) []string {
	const visiting, done = 1, 2
	mark := make(map[string]int, len(nodes))
	var path []string
	var visit func(name string) []string
	visit = func(name string) []string {
		switch mark[name] {
		case visiting:
			return append(slices.Clone(path[slices.Index(path, name):]), name)
		case done:
			return nil
		}
		mark[name] = visiting
		path = append(path, name)
		for _, d := range byName[name].DependsOn {
			if found := visit(d); found != nil {
				return found
			}
		}
		path = path[:len(path)-1]
		mark[name] = done
		return nil
	}
	for _, n := range nodes {
		if found := visit(n.Name); found != nil {
			return found
		}
	}
	return nil
}

// Height returns, for each name, how many steps the longest chain of
// dependencies below it has: 0 for a node that depends on nothing. The nodes
// must have passed [Check].
func Height(nodes []Node) map[string]int {
	byName := make(map[string]Node, len(nodes))
	for _, n := range nodes {
		byName[n.Name] = n
	}
	heights := make(map[string]int, len(nodes))
	var height func(name string) int
	height = func(name string) int {
		if h, ok := heights[name]; ok {
			return h
		}
		h := 0
		for _, d := range byName[name].DependsOn {
			h = max(h, height(d)+1)
		}
		heights[name] = h
		return h
	}
	for _, n := range nodes {
		height(n.Name)
	}
	return heights
}
