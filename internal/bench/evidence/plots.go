// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// palette has colours that those who see few of them tell apart (Okabe and Ito), after
// that of Lameduck.
var palette = []color.Color{
	color.RGBA{R: 213, G: 94, A: 255}, color.RGBA{G: 114, B: 178, A: 255}, color.RGBA{G: 158, B: 115, A: 255},
	color.RGBA{R: 204, G: 121, B: 167, A: 255}, color.RGBA{R: 230, G: 159, A: 255}, color.RGBA{R: 86, G: 180, B: 233, A: 255},
	color.RGBA{R: 120, G: 94, B: 240, A: 255}, color.RGBA{R: 110, G: 110, B: 110, A: 255},
}

var (
	ourColor = color.RGBA{R: 20, G: 20, B: 20, A: 255}
	gridGrey = color.RGBA{R: 225, G: 225, B: 225, A: 255}
)

// A figure is plots side by side in one file.
type figure struct {
	name  string // of the file
	panes []*plot.Plot
	tall  vg.Length
}

// A curve is a line of a plot; x and y of each point.
type curve struct {
	name   string
	points plotter.XYs
}

// newPlot has a light background, a grid, and sans serif for those who have it.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Typeface, f.Variant, f.Size = "Liberation", "Sans", vg.Points(10)
	}
	p.Title.TextStyle.Font.Size = vg.Points(12)
	p.Title.Padding = vg.Points(8)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(8), -vg.Points(6)
	return p
}

// curves is a plot of lines, both axes logarithmic. That of Lameduck is drawn last and
// thickest; another one of ours is dashed.
func curves(title, x, y string, label func(float64) string, all []curve) (*plot.Plot, error) {
	p := newPlot(title, x, y)
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = decades(thousands), decades(label)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridGrey, gridGrey
	p.Add(grid)
	colors := 0
	slices.SortStableFunc(all, func(a, b curve) int { return ours(a.name) - ours(b.name) })
	for _, c := range all {
		if len(c.points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(c.points)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", title, c.name, err)
		}
		line.Width, line.Color = vg.Points(1.3), palette[colors%len(palette)]
		switch {
		case c.name == "Lameduck" || strings.HasPrefix(c.name, "Lameduck,"):
			line.Width, line.Color = vg.Points(2.6), ourColor
		case ours(c.name) > 0:
			line.Dashes, line.Color = []vg.Length{vg.Points(5), vg.Points(3)}, ourColor
		default:
			colors++
		}
		dots.Shape, dots.Color, dots.Radius = draw.CircleGlyph{}, line.Color, vg.Points(2.2)
		p.Add(line, dots)
		p.Legend.Add(c.name, line)
	}
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Min))), math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	return p, nil
}

func ours(name string) int {
	if strings.HasPrefix(strings.ToLower(name), "lameduck") {
		return 1
	}
	return 0
}

// decades has a labelled tick at each power of ten, and others between them.
type decades func(float64) string

func (label decades) Ticks(low, high float64) []plot.Tick {
	var all []plot.Tick
	for v := math.Pow(10, math.Floor(math.Log10(low))); v <= high*1.001; v *= 10 {
		if v >= low*0.999 {
			all = append(all, plot.Tick{Value: v, Label: label(v)})
		}
		for i := 2.0; i < 10 && v*i <= high; i++ {
			if v*i >= low {
				all = append(all, plot.Tick{Value: v * i})
			}
		}
	}
	return all
}

// bars is a plot of horizontal bars, the first on top, each with its value.
func bars(title, x string, label func(float64) string, names []string, values []float64) (*plot.Plot, error) {
	p := newPlot(title, x, "")
	names, values = slices.Clone(names), slices.Clone(values)
	slices.Reverse(names)
	slices.Reverse(values)
	most := slices.Max(values)
	for i, v := range values {
		one := make(plotter.Values, i+1)
		one[i] = v
		b, err := plotter.NewBarChart(one, vg.Points(11))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		b.Horizontal, b.LineStyle.Width, b.Color = true, 0, palette[1]
		if ours(names[i]) > 0 {
			b.Color = ourColor
		}
		p.Add(b)
	}
	points := make(plotter.XYs, len(values))
	text := make([]string, len(values))
	for i, v := range values {
		points[i], text[i] = plotter.XY{X: v + most/100, Y: float64(i)}, label(v)
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: points, Labels: text})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font = p.X.Tick.Label.Font
		labels.TextStyle[i].YAlign = draw.YCenter
	}
	labels.Offset.Y = vg.Points(1.5) // the middle of the digits, not of the line
	p.Add(labels)
	p.NominalY(names...)
	p.Y.Padding = vg.Points(6)
	p.X.Min, p.X.Max = 0, most*1.2
	p.Y.Min, p.Y.Max = -0.7, float64(len(values))-0.3
	return p, nil
}

// write writes the figure as SVG.
func (f figure) write(dir string) error {
	width := vg.Points(520)
	if len(f.panes) > 1 {
		width = vg.Points(460) * vg.Length(len(f.panes))
	}
	canvas := vgsvg.New(width, f.tall)
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	dc = draw.Crop(dc, vg.Points(8), -vg.Points(12), vg.Points(8), -vg.Points(8))
	tiles := draw.Tiles{Rows: 1, Cols: len(f.panes), PadX: vg.Points(18)}
	for i, c := range plot.Align([][]*plot.Plot{f.panes}, tiles, dc)[0] {
		f.panes[i].Draw(c)
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	text := strings.ReplaceAll(b.String(), "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")
	return os.WriteFile(filepath.Join(dir, f.name), []byte(text), 0o644)
}
