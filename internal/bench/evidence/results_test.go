// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"flag"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const printed = `goos: linux
goarch: amd64
pkg: example.com/x
cpu: AMD EPYC
BenchmarkReady/checks=1/lameduck/serial-2         	 1000000	        62.50 ns/op	       0 B/op	       0 allocs/op
BenchmarkIdle/sockets=1000 	       1	        26.90 cpu-µs/conn	         2.010 drain-s	         3.000 lost
PASS
`

func TestWhatBenchmarksPrintIsParsed(t *testing.T) {
	r, err := parse(strings.NewReader(printed))
	require.NoError(t, err)
	assert.Equal(t, round{
		"Ready/checks=1/lameduck/serial": {"ns/op": 62.5, "B/op": 0, "allocs/op": 0},
		"Idle/sockets=1000":              {"cpu-µs/conn": 26.9, "drain-s": 2.01, "lost": 3},
	}, r)
}

func TestNoBenchmarkAtAllIsAnError(t *testing.T) {
	_, err := parse(strings.NewReader("PASS\n"))
	assert.EqualError(t, err, "no benchmark has run")
	_, err = parse(strings.NewReader("BenchmarkX 1 many ns/op\n"))
	assert.ErrorContains(t, err, "parsing measurement")
}

// of returns rounds of benchmarks that take so many ns.
func of(times ...map[string]float64) []round {
	var all []round
	for _, one := range times {
		r := make(round)
		for name, ns := range one {
			r[name] = map[string]float64{"ns/op": ns}
		}
		all = append(all, r)
	}
	return all
}

// TestRatioIsOfTheSameRound: the second round is slow for both, which is no reason
// for a ratio to change.
func TestRatioIsOfTheSameRound(t *testing.T) {
	m := &measured{Rounds: of(
		map[string]float64{"a": 20, "b": 10},
		map[string]float64{"a": 400, "b": 200},
		map[string]float64{"a": 22, "b": 10},
	)}
	assert.Equal(t, 2.0, m.ratio("a", "b", "ns/op"))
	assert.Equal(t, 22.0, m.median("a", "ns/op"))
	assert.Equal(t, 22.0, m.median("a", "ns/op"), "a ratio changes what is kept")
	assert.Zero(t, m.median("c", "ns/op"))
}

func TestMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	all := []time.Duration{4, 1, 2, 9}
	assert.Equal(t, time.Duration(3), median(all))
	assert.Equal(t, []time.Duration{4, 1, 2, 9}, all)
	assert.Zero(t, median[float64](nil))
}

func TestSectionsAreKeptOneByOne(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.json")
	here := machine{CPU: "a", Cores: 2, Commit: "1", Date: "2026-01-01"}
	one := of(map[string]float64{"a": 1})
	require.NoError(t, keep(name, "probes", &measured{Machine: here, Took: time.Second, Rounds: one}, false))
	require.NoError(t, keep(name, "rolls", &measured{Machine: here, Rolls: []roll{{Service: "x"}}}, false))
	here.Date = "2026-01-02"
	require.NoError(t, keep(name, "probes", &measured{Machine: here, Took: time.Second, Rounds: one}, true))
	all, err := load(name)
	require.NoError(t, err)
	assert.Len(t, all, 2)
	assert.Equal(t, &measured{Machine: here, Took: 2 * time.Second, Rounds: append(one, one...)}, all["probes"])

	here.Commit = "2"
	assert.ErrorContains(t, keep(name, "probes", &measured{Machine: here}, true), "probes: measured on ")
	require.NoError(t, keep(name, "probes", &measured{Machine: here}, false))
	all, err = load(name)
	require.NoError(t, err)
	assert.Empty(t, all["probes"].Rounds)
}

func TestTerminationsAreAdded(t *testing.T) {
	a := &measured{Rolls: []roll{{Service: "x", Sent: 10, Lost: 1, Refused: 1, Exits: []time.Duration{1}}, {Service: "y", Missing: "no"}}}
	b := &measured{Rolls: []roll{{Service: "y", Sent: 5}, {Service: "x", Sent: 20, Lost: 2, Exits: []time.Duration{2, 3}}}}
	sum := a.plus(b)
	assert.Equal(t, []roll{
		{Service: "x", Sent: 30, Lost: 3, Refused: 1, Exits: []time.Duration{1, 2, 3}}, {Service: "y", Sent: 5},
	}, sum.Rolls)
	assert.Len(t, a.Rolls[0].Exits, 1, "what is added to changes")
}

// TestServicesThatAreLeftOutStay: -services alone replaces what it names, on the machine
// on which the others were measured.
func TestServicesThatAreLeftOutStay(t *testing.T) {
	store := filepath.Join(t.TempDir(), "results.json")
	here := machine{CPU: "a", Commit: "1", Date: "2026-01-01"}
	require.NoError(t, keep(store, "rolls", &measured{
		Machine: here, Took: time.Hour, Rolls: []roll{{Service: "x", Sent: 10, Lost: 1}, {Service: "y", Sent: 20}},
	}, false))

	here.Date = "2026-01-02"
	again := &measured{Machine: here, Took: time.Second, Rolls: []roll{{Service: "z", Sent: 5}, {Service: "x", Sent: 11}}, part: true}
	require.NoError(t, keep(store, "rolls", again, false))
	all, err := load(store)
	require.NoError(t, err)
	assert.Equal(t, []roll{{Service: "x", Sent: 11}, {Service: "y", Sent: 20}, {Service: "z", Sent: 5}}, all["rolls"].Rolls)
	assert.Equal(t, time.Hour, all["rolls"].Took)

	here.Commit = "2"
	again.Machine = here
	assert.ErrorContains(t, keep(store, "rolls", again, false), "rolls: measured on ")
	kept, err := load(store)
	require.NoError(t, err)
	assert.Equal(t, all, kept)

	for _, tt := range []struct {
		services, section string
		add, fits         bool
	}{
		{"^x$|fx", "rolls", false, false},
		{"^x$|fx", "probes", false, true}, // which has no services, and is measured as a whole
		{"", "rolls", false, true},
		{"", "rolls", true, false},
	} {
		c := config{store: store, services: regexp.MustCompile(tt.services), add: tt.add}
		assert.Equal(t, tt.fits, c.fits(tt.section, here) == nil, "%+v", tt)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "probes,none"}, `no section "none"; there are probes, serving, components, idle, rolls`},
		{[]string{"-terminations", "0"}, "too few terminations, rounds or services side by side"},
		{[]string{"-services", "("}, "-services: error parsing regexp: missing closing ): `(`"},
		{[]string{"-services", "nobody"}, `no service matches -services "nobody"`},
		{[]string{"-only", "", "rolls"}, `unexpected argument "rolls"`},
	} {
		assert.EqualError(t, run(t.Context(), append([]string{"-root", "../../.."}, tt.args...)), tt.want)
	}
	assert.ErrorIs(t, run(t.Context(), []string{"-h"}), flag.ErrHelp)
	elsewhere := t.TempDir()
	assert.ErrorContains(t, run(t.Context(), []string{"-root", elsewhere, "-only", ""}), "-root is not the repository: ")
	assert.NoDirExists(t, filepath.Join(elsewhere, "examples"))
	t.Setenv(terminationsEnv, "many")
	assert.ErrorContains(t, run(t.Context(), nil), terminationsEnv+": ")
}

func TestProcessorIsTheFirst(t *testing.T) {
	assert.Equal(t, "AMD EPYC", cpu("processor\t: 0\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n"))
	assert.NotEmpty(t, cpu(""))
}
