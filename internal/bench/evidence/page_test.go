// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const committed = "../../../examples/docs/benchmarks.md"

// TestPageIsOfTheResults: nobody has changed a figure by hand, and all sections have
// been measured.
func TestPageIsOfTheResults(t *testing.T) {
	all, err := load("results.json")
	require.NoError(t, err)
	text, err := page(all)
	require.NoError(t, err)
	is, err := os.ReadFile(committed)
	require.NoError(t, err)
	want, got := strings.Split(text, "\n"), strings.Split(string(is), "\n")
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "write it anew: cd internal/bench && go run ./evidence -only ''")
	}
	assert.Len(t, got, len(want))
	assert.NotContains(t, text, "ot measured")
	assert.NotContains(t, text, "NaN")
	assert.NotContains(t, text, "Inf")
	plots := regexp.MustCompile(`\(([^)]*\.svg)\)`).FindAllStringSubmatch(text, -1)
	assert.Len(t, plots, len(sections))
	for _, p := range plots {
		drawing(t, filepath.Join(filepath.Dir(committed), p[1]))
	}
	for _, link := range regexp.MustCompile(`\]\((\.[^)]*)\)`).FindAllStringSubmatch(text, -1) {
		_, err := os.Stat(filepath.Join(filepath.Dir(committed), link[1]))
		assert.NoError(t, err)
	}
}

// drawing returns the text of an SVG file.
func drawing(t *testing.T, name string) (text string) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	d := xml.NewDecoder(f)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		require.NoError(t, err, name)
		if s, ok := token.(xml.CharData); ok {
			text += string(s) + "\n"
		}
	}
}

// small returns results of all sections in which Lameduck takes 100 of everything,
// and a rival less or more.
func small(rival float64) results {
	bench := make(map[string]float64)
	for _, n := range sizes {
		for _, peer := range []string{"lameduck", "fx", "constant"} {
			ns := map[string]float64{"lameduck": 100, "fx": rival, "constant": 1}[peer]
			bench[probeName(n, peer)] = ns
			bench[componentName(n, peer)] = ns
			bench["ServeLoopback/"+peer], bench["ServeInMemory/"+peer] = ns, ns
		}
	}
	bench["ServeLoopback/net-http"], bench["ServeInMemory/net-http"] = 1000, 1000
	m := &measured{Rounds: of(bench, bench)}
	idle := make(round)
	for _, n := range idleSizes {
		idle[idleName(n)] = map[string]float64{"drain-s": 100, "Shutdown-s": rival, "cpu-µs/conn": 100, "Shutdown-cpu-µs/conn": rival}
	}
	second := []time.Duration{time.Second}
	return results{"probes": m, "serving": m, "components": m, "idle": {Rounds: []round{idle}}, "rolls": {Rolls: []roll{
		{Service: "Lameduck, floor 5 s", Sent: 100, Exits: second, Lines: 8},
		{Service: "Lameduck, floor 2 s", Sent: 100, Exits: second, Lines: 8},
		{Service: "fx, preStop sleep", Version: "v1.2.3", Sent: 100, Lost: 7, Refused: 5, Exits: []time.Duration{time.Minute}, Lines: 5},
		{Service: "gone", Lines: 9, Missing: "it does not compile"},
	}}}
}

func TestWhoIsAheadIsShown(t *testing.T) {
	for _, tt := range []struct {
		rival float64
		want  string
	}{
		{50, "| a readiness probe, 100 checks | 100 ns | 50 ns, uber-go/fx | **uber-go/fx**, ×2 |"},
		{400, "| a readiness probe, 100 checks | 100 ns | 400 ns, uber-go/fx | Lameduck, ×4 |"},
		{100, "| a readiness probe, 100 checks | 100 ns | 100 ns, uber-go/fx | even |"},
		{96, "| a readiness probe, 100 checks | 100 ns | 96 ns, uber-go/fx | even |"},
		{94, "| a readiness probe, 100 checks | 100 ns | 94 ns, uber-go/fx | **uber-go/fx**, ×1.06 |"},
		{50, "| throughput over loopback, to net/http's | 10.000 | 20.000, uber-go/fx | **uber-go/fx**, ×2 |"},
		{400, "| throughput over loopback, to net/http's | 10.000 | 2.500, uber-go/fx | Lameduck, ×4 |"},
		{50, "| to the end of 15,000 idle connections | 100 s | 50 s, Shutdown | **Shutdown**, ×2 |"},
		{50, "| start and stop of 10,000 components | 100 ns | 50 ns, uber-go/fx | **uber-go/fx**, ×2 |"},
		{50, "| lost of 100,000 requests, floor 2 s | 0 | 7,000, fx, preStop sleep | Lameduck |"},
		{50, "| the same, floor 5 s | 1 s | 60 s, fx, preStop sleep | Lameduck, ×60 |"},
		{50, "| lines of the program | 8 | 5, fx, preStop sleep | **fx, preStop sleep**, ×1.6 |"},
	} {
		assert.Contains(t, duels(small(tt.rival)), tt.want)
	}
}

func TestTables(t *testing.T) {
	all := small(400)
	for _, want := range []string{
		"| **Lameduck** | 100 ns ×1, 0 allocs | 100 ns ×1, 0 allocs | 100 ns ×1, 0 allocs | 100 ns ×1, 0 allocs |",
		"| uber-go/fx | 400 ns ×4, 0 allocs |",
		"| uber-go/fx | 400 ns | -600 ns | 0 | 0 B | 400 ns | 2.500 |",
		"| uber-go/fx | 400 ns ×4, 0 allocs each |",
		"| 15,000 | 0 | 0 | 100.00 s | 400.00 s | 100 µs | 400 µs | 0 B |",
		"| fx, preStop sleep v1.2.3 | 1 | 100 | 7 | 5 | 7 | 60.00 s | 60.00 s | 5 |",
		"| gone |  |  |  |  |  |  |  | 9 |",
		"gone is not in the table, or not whole: it does not compile.",
		"| 3 terminations in 0 s |", // of those that could be had
	} {
		text, err := page(all)
		require.NoError(t, err)
		assert.Contains(t, text, want)
	}
}

func TestPageWithoutResultsSaysSo(t *testing.T) {
	text, err := page(nil)
	require.NoError(t, err)
	assert.Equal(t, 2*len(sections), strings.Count(strings.ToLower(text), "not measured"))
	drawn, err := figures(nil)
	require.NoError(t, err)
	assert.Empty(t, drawn)
}

func TestPlotsAreWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "docs", "page.md")
	require.NoError(t, write(name, small(400)))
	for section, want := range map[string][]string{
		"probes":     {"A readiness probe that passes", "checks", "time of a probe", "100 ns", "1,000", "uber-go/fx", "Lameduck"},
		"serving":    {"A request in memory", "Throughput over loopback", "% of net/http's", "250.0 %", "net/http"},
		"components": {"components", "time for all", "10,000"},
		"idle":       {"connections", "CPU time a connection", "http.Server.Shutdown", "100 s"},
		"rolls":      {"Requests lost in a termination", "From SIGTERM to the exit", "fx, preStop sleep", "60.00", "7"},
	} {
		text := drawing(t, filepath.Join(filepath.Dir(name), fmt.Sprintf("benchmarks-%s.svg", section)))
		for _, w := range want {
			assert.Contains(t, text, "\n"+w+"\n", section)
		}
		assert.NotContains(t, text, "gone")
	}
}

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0 ns": nanos(0), "38.3 ns": nanos(38.3), "1 µs": nanos(999.9), "1.05 µs": nanos(1047), "123 ms": nanos(123.4e6), "12 s": nanos(12e9),
		"0": digits(0), "0.0125": digits(0.0125), "0.12": digits(0.12), "1.5": digits(1.499), "12.3": digits(12.34), "100": digits(99.96), "1,234,567": digits(1234567),
		"-1,000": thousands(-1000), "999": thousands(999), "0.05 s": seconds(47e6), "×1.1": times(1.1),
	} {
		assert.Equal(t, want, got)
	}
}
