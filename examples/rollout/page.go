// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

const (
	laneHeight = 30
	labelWidth = 90
	plotWidth  = 900
	bin        = 50 * time.Millisecond
)

// A drawing is the timeline of one rollout, in pixels.
type drawing struct {
	Summary  summary
	Percent  string
	Instants string // when they come after T0, of replicas that tell them all
	Height   int
	Width    int
	Lanes    []laneDrawing
	Ticks    []tick
}

type laneDrawing struct {
	ID       string
	Y        int
	Bars     []bar
	Instants []instantMark
	Served   template.HTMLAttr // the path of the served requests' density
	Lost     []lossMark
}

type bar struct {
	X, W         float64
	Phase, Title string
}

type instantMark struct {
	X     float64
	Title string
}

type lossMark struct {
	X     float64
	Title string
}

type tick struct {
	X    float64
	Text string
}

// checkOut reports why a page could not be written, before there is one. It
// changes no file: the page of an earlier run is kept until the next one is done.
func checkOut(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		f.Close()
		return os.Remove(path)
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return err
	}
	return f.Close()
}

// writePage writes the page with all timelines.
func writePage(path string, c config, rollouts []*rollout) error {
	longest := time.Second
	for _, r := range rollouts {
		longest = max(longest, r.Length)
	}
	var drawings []drawing
	for _, r := range rollouts {
		drawings = append(drawings, r.draw(longest))
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := page.Execute(f, map[string]any{
		"Drawings": drawings,
		"Setting": fmt.Sprintf("%d replicas, %d clients, about %d requests/s, propagation up to %v, round trip %v, floor %v, sleep %v",
			c.replicas, c.clients, c.rate, c.propagation, c.rtt, c.floor, c.sleep),
	}); err != nil {
		return err
	}
	return f.Close()
}

// draw lays a rollout out on a common time axis.
func (r *rollout) draw(longest time.Duration) drawing {
	x := func(d time.Duration) float64 {
		return labelWidth + plotWidth*float64(min(max(d, 0), longest))/float64(longest)
	}
	s := r.summary()
	d := drawing{Summary: s, Percent: percent(s.OK, s.Sent), Instants: r.instants(), Width: labelWidth + plotWidth + 10, Height: len(r.Lanes)*laneHeight + 24}
	for i, l := range r.Lanes {
		ld := laneDrawing{ID: l.ID, Y: i * laneHeight, Bars: bars(l, r.Length, x), Instants: l.instants(x)}
		ld.Served, ld.Lost = r.requests(l.ID, x)
		d.Lanes = append(d.Lanes, ld)
	}
	if _, lost := r.requests("", x); len(lost) > 0 { // lost before a replica was chosen
		d.Lanes = append(d.Lanes, laneDrawing{ID: "none", Y: len(r.Lanes) * laneHeight, Lost: lost})
		d.Height += laneHeight
	}
	for t := time.Duration(0); t <= longest; t += time.Second {
		d.Ticks = append(d.Ticks, tick{x(t), fmt.Sprint(int(t.Seconds()))})
	}
	return d
}

// requests returns the density of a replica's served requests as the points of
// an area, and a mark for each that was lost on it.
func (r *rollout) requests(id string, x func(time.Duration) float64) (template.HTMLAttr, []lossMark) {
	origin := r.origin
	counts := make([]int, r.Length/bin+2)
	most := 1
	var lost []lossMark
	for _, res := range r.results {
		if res.replica != id {
			continue
		}
		at := res.Start.Sub(origin)
		if res.Cause != load.OK {
			lost = append(lost, lossMark{x(at), fmt.Sprintf("%s lost at %.3f s: %s", res.Kind.Name, at.Seconds(), res.Err)})
			continue
		}
		if i := int(at / bin); i >= 0 && i < len(counts) {
			counts[i]++
			most = max(most, counts[i])
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `points="%.1f,%d`, x(0), laneHeight-4)
	for i, n := range counts {
		fmt.Fprintf(&b, " %.1f,%.1f", x(time.Duration(i)*bin), float64(laneHeight-4)-float64(n)/float64(most)*(laneHeight-10))
	}
	fmt.Fprintf(&b, ` %.1f,%d"`, x(r.Length), laneHeight-4)
	return template.HTMLAttr(b.String()), lost
}
