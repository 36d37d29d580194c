// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	jsonType = []string{"application/health+json"}
	pageType = []string{"text/html; charset=utf-8"}

	// pagePolicy forbids what the page does not have, such as scripts.
	pagePolicy = []string{"default-src 'none'; style-src 'unsafe-inline'"}
)

// Measures of the graph, in pixels.
const (
	boxWidth, boxHeight = 160, 34
	stepX, stepY        = 220, 50
	maxLabel            = 20 // runes
	maxShown            = 20 // changes
)

const pageHead = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5">
<title>%s</title>
<style>
body{font:15px/1.4 system-ui,sans-serif;margin:1.5em;color:#222}
table{border-collapse:collapse;margin:1em 0}
td,th{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #ddd;vertical-align:top}
svg{max-width:100%%;height:auto}
svg text{font:13px system-ui,sans-serif}
.passing{fill:#c9efcf;background:#c9efcf}
.degraded{fill:#ffe7a8;background:#ffe7a8}
.failing{fill:#f7bcb5;background:#f7bcb5}
.skipped{fill:#e2e2e2;background:#e2e2e2}
.unknown{fill:#fff;background:#fff}
rect{stroke:#555}path{stroke:#888;fill:none}
</style>
`

// page returns the report as a page for people. It has no script and fetches
// nothing.
func (rep *report) page(r *Registry) []byte {
	var b strings.Builder
	status, title := r.Status(), html.EscapeString(rep.kind.String()+": "+rep.verdict.line)
	fmt.Fprintf(&b, pageHead, title)
	fmt.Fprintf(&b, "<h1>%s</h1>\n<p>", title)
	for _, p := range []struct {
		name   string
		passes bool
	}{{"live", status.Live}, {"ready", status.Ready}, {"started", status.Started}} {
		class, not := "passing", ""
		if !p.passes {
			class, not = "failing", "not "
		}
		fmt.Fprintf(&b, "<b class=%s>%s%s</b> ", class, not, p.name)
	}
	b.WriteString("</p>\n")
	if rep.maintained() {
		fmt.Fprintf(&b, "<p>Maintenance: %s</p>\n", html.EscapeString(oneLine(rep.phase.reason, maxText)))
	}
	if w := rep.warning(); w != "" {
		fmt.Fprintf(&b, "<p>Warning: %s</p>\n", html.EscapeString(w))
	}
	rep.graph(&b)
	rep.table(&b)
	if rep.allowed {
		changes(&b, r.History())
	}
	b.WriteString("</html>\n")
	return []byte(b.String())
}

// class is what an item is coloured by.
func (it *item) class() string {
	state := it.state()
	if it.grade() == degraded && state != skipped.String() {
		return "degraded"
	}
	return state
}

func (rep *report) table(b *strings.Builder) {
	b.WriteString("<table>\n<tr><th>check<th>state<th>importance<th>last run<th>took<th>reason\n")
	for i := range rep.items {
		it := &rep.items[i]
		importance, ended, took, reason := "critical", "", "", ""
		if it.check != nil {
			importance = it.check.importance()
			if !it.view.ended.IsZero() {
				ended = it.view.ended.UTC().Format(time.RFC3339)
				took = it.view.took.Round(time.Microsecond).String()
			}
		}
		if it.grade() != good {
			reason = it.reason(rep.allowed)
		}
		if rep.excluded[it.name()] {
			reason = "excluded; " + reason
		}
		fmt.Fprintf(b, "<tr><td>%s<td><span class=%s>%s</span><td>%s<td>%s<td>%s<td>%s\n",
			html.EscapeString(it.name()), it.class(), it.state(), importance, ended, took, html.EscapeString(reason))
	}
	b.WriteString("</table>\n")
}

// graph draws the checks, each to the right of what it depends on.
func (rep *report) graph(b *strings.Builder) {
	type place struct{ x, y int }
	places := make(map[string]place)
	var columns []int // how many are in each
	for _, it := range rep.byHeight() {
		column := 0
		for _, name := range it.check.DependsOn {
			if p, ok := places[name]; ok {
				column = max(column, p.x+1)
			}
		}
		if column == len(columns) {
			columns = append(columns, 0)
		}
		places[it.check.Name] = place{column, columns[column]}
		columns[column]++
	}
	if len(columns) < 2 {
		return // nothing depends on anything
	}
	width, height := (len(columns)-1)*stepX+boxWidth+2, (slices.Max(columns)-1)*stepY+boxHeight+2
	fmt.Fprintf(b, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=img aria-label=\"graph of dependencies\">\n", width, height, width)
	for _, it := range rep.items {
		to := places[it.check.Name]
		for _, name := range it.check.DependsOn {
			if from, ok := places[name]; ok {
				x1, y1 := from.x*stepX+boxWidth+1, from.y*stepY+boxHeight/2+1
				x2, y2 := to.x*stepX+1, to.y*stepY+boxHeight/2+1
				fmt.Fprintf(b, "<path d=\"M%d %dC%d %d %d %d %d %d\"/>\n", x1, y1, x1+30, y1, x2-30, y2, x2, y2)
			}
		}
	}
	for _, it := range rep.items {
		p := places[it.check.Name]
		fmt.Fprintf(b, "<g transform=\"translate(%d %d)\"><title>%s: %s</title><rect class=%s width=%d height=%d rx=5 /><text x=8 y=22>%s</text></g>\n",
			p.x*stepX+1, p.y*stepY+1, html.EscapeString(it.check.Name), it.state(), it.class(), boxWidth, boxHeight,
			html.EscapeString(label(it.check.Name)))
	}
	b.WriteString("</svg>\n")
}

// byHeight returns the checks with dependencies before dependants.
func (rep *report) byHeight() []*item {
	var sorted []*item
	seen := make(map[*check]bool)
	byCheck := make(map[*check]*item)
	var visit func(c *check)
	visit = func(c *check) {
		if c == nil || seen[c] {
			return
		}
		seen[c] = true
		for _, d := range c.deps {
			visit(d)
		}
		if it := byCheck[c]; it != nil {
			sorted = append(sorted, it)
		}
	}
	for i := range rep.items {
		byCheck[rep.items[i].check] = &rep.items[i]
	}
	for i := range rep.items {
		visit(rep.items[i].check)
	}
	return sorted
}

// label shortens a name to what fits a box.
func label(name string) string {
	if utf8.RuneCountInString(name) <= maxLabel {
		return name
	}
	return string([]rune(name)[:maxLabel-1]) + "…"
}

// changes lists the last changes, the latest first.
func changes(b *strings.Builder, history []Change) {
	if len(history) == 0 {
		return
	}
	b.WriteString("<table>\n<tr><th>changed<th>probe<th>check<th>from<th>to<th>reason\n")
	for i, c := range slices.Backward(history) {
		if len(history)-i > maxShown {
			break
		}
		fmt.Fprintf(b, "<tr><td>%s<td>%s<td>%s<td>%s<td>%s<td>%s\n", c.Time.UTC().Format(time.RFC3339Nano), c.Probe,
			html.EscapeString(c.Check), c.From, c.To, html.EscapeString(c.Reason))
	}
	b.WriteString("</table>\n")
}
