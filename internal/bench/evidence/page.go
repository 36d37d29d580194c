// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed page.md.tmpl
var pageText string

// write writes the page and the plots beside it.
func write(name string, all results) error {
	text, err := page(all)
	if err != nil {
		return err
	}
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	figures, err := figures(all)
	if err != nil {
		return err
	}
	for _, f := range figures {
		if err := f.write(dir); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// page returns the page. A section that was not measured says so.
func page(all results) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"machines":   machines,
		"duels":      duels,
		"probes":     probesTable,
		"serving":    servingTable,
		"components": componentsTable,
		"idle":       idleTable,
		"rolls":      rollsTable,
		"missing":    missing,
	}).Parse(pageText)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, all); err != nil {
		return "", err
	}
	return b.String(), nil
}

// machines says on what each section was measured.
func machines(all results) string {
	var rows [][]string
	for _, s := range sections {
		m := all[s.name]
		if m == nil {
			rows = append(rows, []string{s.name, "not measured", "", "", "", "", "", ""})
			continue
		}
		of := fmt.Sprintf("%d rounds", len(m.Rounds))
		if len(m.Rolls) > 0 {
			n := 0
			for _, r := range m.Rolls {
				n += len(r.Exits)
			}
			of = fmt.Sprintf("%d terminations", n)
		}
		rows = append(rows, []string{s.name, fmt.Sprintf("%s, %d cores", m.Machine.CPU, m.Machine.Cores), m.Machine.Kernel,
			m.Machine.Go, m.Machine.Commit, m.Machine.Date, m.Machine.Busy, fmt.Sprintf("%s in %.0f s", of, m.Took.Seconds())})
	}
	return table([]string{"section", "processor", "kernel", "Go", "commit", "date", "load before", "measured"}, rows)
}

var sizes = []int{1, 10, 100, 1000, 10000}

// library is what the page calls what a benchmark calls by the name of a path.
func library(name string) string {
	names := map[string]string{
		"constant": "a constant answer", "lameduck": "Lameduck", "lameduck-heptio": "Lameduck as heptiolabs/healthcheck",
		"controller-runtime": "controller-runtime healthz", "apiserver": "k8s.io/apiserver healthz", "heptiolabs": "heptiolabs/healthcheck",
		"alexliesenfeld": "alexliesenfeld/health", "alexliesenfeld-periodic": "alexliesenfeld/health, periodic",
		"hellofresh": "hellofresh/health-go", "go-sundheit": "AppsFlyer/go-sundheit",
		"net-http": "net/http", "knative": "knative Drainer", "apiserver-filter": "apiserver's wait-group filter",
		"dskit": "grafana/dskit", "fx": "uber-go/fx", "oklog-run": "oklog/run",
	}
	if known, ok := names[name]; ok {
		return known
	}
	return name
}

// variants returns the last parts of the names of a section's benchmarks that begin
// and end so, in the order of what one of them takes.
func (m *measured) variants(prefix, suffix, unit string) []string {
	var all []string
	for _, r := range m.Rounds {
		for name := range r {
			rest, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			if rest, ok = strings.CutSuffix(rest, suffix); ok && !strings.Contains(rest, "/") && !slices.Contains(all, rest) {
				all = append(all, rest)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		x, y := m.median(prefix+a+suffix, unit), m.median(prefix+b+suffix, unit)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return strings.Compare(a, b)
	})
	return all
}

func bold(s string, is bool) string {
	if is {
		return "**" + s + "**"
	}
	return s
}
