// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// figures returns the plots of what was measured.
func figures(all results) ([]figure, error) {
	var drawn []figure
	for _, f := range []struct {
		section string
		tall    vg.Length
		draw    func(*measured) ([]*plot.Plot, error)
	}{
		{"probes", 380, drawProbes},
		{"serving", 190, drawServing},
		{"components", 340, drawComponents},
		{"idle", 340, drawIdle},
		{"rolls", 390, drawRolls},
	} {
		m := all[f.section]
		if m == nil {
			continue
		}
		panes, err := f.draw(m)
		if err != nil {
			return nil, err
		}
		drawn = append(drawn, figure{"benchmarks-" + f.section + ".svg", panes, vg.Points(float64(f.tall))})
	}
	return drawn, nil
}

func drawProbes(m *measured) ([]*plot.Plot, error) {
	var all []curve
	peers := m.variants("Ready/checks=1000/", "/serial", "ns/op")
	slices.Reverse(peers)
	for _, peer := range peers {
		all = append(all, m.curve(library(peer), sizes[:4], func(n int) string { return probeName(n, peer) }, "ns/op", 1))
	}
	return one(curves("A readiness probe that passes", "checks", "time of a probe", nanos, all))
}

func drawComponents(m *measured) ([]*plot.Plot, error) {
	var all []curve
	for _, peer := range m.variants("Components/components=1000/", "", "ns/op") {
		all = append(all, m.curve(library(peer), sizes[1:], func(n int) string { return componentName(n, peer) }, "ns/op", 1))
	}
	return one(curves("Start and stop of components that do nothing", "components", "time for all", nanos, all))
}

// drawIdle has the time to the end, and the CPU time for it.
func drawIdle(m *measured) ([]*plot.Plot, error) {
	whole := []curve{
		m.curve("Lameduck, floor 1 s", idleSizes, idleName, "drain-s", 1e9),
		m.curve("http.Server.Shutdown", idleSizes, idleName, "Shutdown-s", 1e9),
	}
	cpu := []curve{
		m.curve("Lameduck", idleSizes, idleName, "cpu-µs/conn", 1e3),
		m.curve("http.Server.Shutdown", idleSizes, idleName, "Shutdown-cpu-µs/conn", 1e3),
	}
	left, err := curves("To the end of a server with idle connections", "connections", "time to the end", nanos, whole)
	if err != nil {
		return nil, err
	}
	right, err := curves("CPU time of that end, a connection", "connections", "CPU time a connection", nanos, cpu)
	if err != nil {
		return nil, err
	}
	right.Legend.Left = false // these curves begin high
	right.Legend.XOffs = -right.Legend.XOffs
	return []*plot.Plot{left, right}, nil
}

func drawServing(m *measured) ([]*plot.Plot, error) {
	var names []string
	var memory, throughput []float64
	peers := m.variants("ServeInMemory/", "", "ns/op")
	for _, peer := range peers {
		names = append(names, servingName(peer))
		memory = append(memory, m.median("ServeInMemory/"+peer, "ns/op"))
		throughput = append(throughput, 100/m.ratio("ServeLoopback/"+peer, "ServeLoopback/net-http", "ns/op"))
	}
	left, err := bars("A request in memory", "time of a request (ns)", nanos, names, memory)
	if err != nil {
		return nil, err
	}
	right, err := bars("Throughput over loopback", "% of net/http's", percent, names, throughput)
	return []*plot.Plot{left, right}, err
}

// drawRolls has what is lost, and how long it takes to leave.
func drawRolls(m *measured) ([]*plot.Plot, error) {
	var names []string
	var lost, exit []float64
	for _, r := range m.Rolls {
		if len(r.Exits) == 0 {
			continue
		}
		names = append(names, r.Service)
		lost = append(lost, float64(r.Lost)/float64(len(r.Exits)))
		exit = append(exit, median(r.Exits).Seconds())
	}
	if len(names) == 0 {
		return nil, nil
	}
	left, err := bars("Requests lost in a termination", "requests, mean", digits, names, lost)
	if err != nil {
		return nil, err
	}
	right, err := bars("From SIGTERM to the exit", "seconds, median", hundredths, names, exit)
	return []*plot.Plot{left, right}, err
}

func one(p *plot.Plot, err error) ([]*plot.Plot, error) { return []*plot.Plot{p}, err }

// curve returns the medians of a unit by size, in nanoseconds if so many are one.
func (m *measured) curve(name string, sizes []int, benchmark func(int) string, unit string, factor float64) curve {
	c := curve{name: name}
	for _, n := range sizes {
		if v := m.median(benchmark(n), unit) * factor; v > 0 {
			c.points = append(c.points, plotter.XY{X: float64(n), Y: v})
		}
	}
	return c
}
