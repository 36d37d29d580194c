// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import "context"

// A section of the page is measured by itself.
type section struct {
	name    string
	measure func(context.Context, config) (*measured, error)
}

var sections = []section{
	{"probes", suite{"internal/bench", "^BenchmarkReady$/^checks=/./^serial$", "100ms", 7}.measure},
	{"serving", suite{"internal/bench/peers", "^BenchmarkServe", "100ms", 21}.measure},
	{"components", suite{"internal/bench/peers", "^BenchmarkComponents$", "100ms", 7}.measure},
	{"idle", suite{"drain", "^BenchmarkIdle$/^sockets=", "1x", 3}.measure},
	{"rolls", rolls},
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}
