// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"fmt"
	"slices"
	"strings"
)

func probeName(n int, peer string) string { return fmt.Sprintf("Ready/checks=%d/%s/serial", n, peer) }

// probesTable has the time of a probe and its ratio to Lameduck's, by the number of
// checks.
func probesTable(m *measured) string {
	head := []string{""}
	for _, n := range sizes[:4] {
		head = append(head, checks(n))
	}
	var rows [][]string
	for _, peer := range m.variants("Ready/checks=1000/", "/serial", "ns/op") {
		row := []string{bold(library(peer), ours(peer) > 0)}
		for _, n := range sizes[:4] {
			name := probeName(n, peer)
			row = append(row, fmt.Sprintf("%s %s, %s", nanos(m.median(name, "ns/op")),
				times(m.ratio(name, probeName(n, "lameduck"), "ns/op")), allocs(m.median(name, "allocs/op"))))
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

func checks(n int) string {
	if n == 1 {
		return "1 check"
	}
	return thousands(float64(n)) + " checks"
}

func allocs(n float64) string {
	if n == 1 {
		return "1 alloc"
	}
	return digits(n) + " allocs"
}

// servingTable has what a request costs in memory and over loopback.
func servingTable(m *measured) string {
	var rows [][]string
	for _, peer := range m.variants("ServeLoopback/", "", "ns/op") {
		memory, loopback := "ServeInMemory/"+peer, "ServeLoopback/"+peer
		rows = append(rows, []string{
			bold(servingName(peer), ours(peer) > 0),
			nanos(m.median(memory, "ns/op")),
			fmt.Sprintf("%+.0f ns", m.median(memory, "ns/op")-m.median("ServeInMemory/net-http", "ns/op")),
			digits(m.median(memory, "allocs/op")),
			thousands(m.median(memory, "B/op")) + " B",
			nanos(m.median(loopback, "ns/op")),
			fmt.Sprintf("%.3f", 1/m.ratio(loopback, "ServeLoopback/net-http", "ns/op")),
		})
	}
	return table([]string{"", "in memory, a request", "against net/http", "allocs", "bytes", "loopback, a request", "throughput to net/http's"}, rows)
}

// servingName tells the API server's filter from its probes.
func servingName(peer string) string {
	if peer == "apiserver" {
		peer = "apiserver-filter"
	}
	return library(peer)
}

func componentName(n int, peer string) string {
	return fmt.Sprintf("Components/components=%d/%s", n, peer)
}

// componentsTable has the time to start and stop so many components.
func componentsTable(m *measured) string {
	head := []string{""}
	for _, n := range sizes[1:] {
		head = append(head, thousands(float64(n))+" components")
	}
	var rows [][]string
	for _, peer := range m.variants("Components/components=1000/", "", "ns/op") {
		row := []string{bold(library(peer), ours(peer) > 0)}
		for _, n := range sizes[1:] {
			name := componentName(n, peer)
			row = append(row, fmt.Sprintf("%s %s, %s each", nanos(m.median(name, "ns/op")),
				times(m.ratio(name, componentName(n, "lameduck"), "ns/op")), allocs(m.median(name, "allocs/op")/float64(n))))
		}
		rows = append(rows, row)
	}
	return table(head, rows)
}

var idleSizes = []int{100, 1000, 5000, 15000}

func idleName(n int) string { return fmt.Sprintf("Idle/sockets=%d", n) }

// idleTable has the end of a server with so many connections.
func idleTable(m *measured) string {
	var rows [][]string
	for _, n := range idleSizes {
		median := func(unit string) float64 { return m.median(idleName(n), unit) }
		rows = append(rows, []string{
			thousands(float64(n)),
			thousands(median("lost")), thousands(median("Shutdown-lost")),
			fmt.Sprintf("%.2f s", median("drain-s")), fmt.Sprintf("%.2f s", median("Shutdown-s")),
			digits(median("cpu-µs/conn")) + " µs", digits(median("Shutdown-cpu-µs/conn")) + " µs",
			thousands(median("extra-B/conn")) + " B",
		})
	}
	return table([]string{"connections", "lost", "lost by Shutdown", "to the end", "Shutdown", "CPU a connection", "Shutdown",
		"memory a connection beyond net/http's"}, rows)
}

// rollsTable has what each service loses and how long it takes to leave.
func rollsTable(m *measured) string {
	var rows [][]string
	for _, r := range m.Rolls {
		name := r.Service
		if r.Version != "" {
			name += " " + shortVersion(r.Version)
		}
		if len(r.Exits) == 0 {
			rows = append(rows, []string{name, "", "", "", "", "", "", "", fmt.Sprint(r.Lines)})
			continue
		}
		n := float64(len(r.Exits))
		rows = append(rows, []string{
			bold(name, ours(name) > 0), thousands(n), thousands(float64(r.Sent)), thousands(float64(r.Lost)),
			thousands(float64(r.Refused)), digits(float64(r.Lost) / n),
			seconds(float64(median(r.Exits))), seconds(float64(slices.Max(r.Exits))), fmt.Sprint(r.Lines),
		})
	}
	return table([]string{"service", "terminations", "sent", "lost", "of these refused", "lost each", "exit, median", "worst", "lines"}, rows)
}

// shortVersion leaves out the time of a pseudo-version.
func shortVersion(v string) string {
	if parts := strings.Split(v, "-"); len(parts) == 3 {
		return parts[2]
	}
	return v
}

// missing says which services could not be had or have failed.
func missing(m *measured) string {
	var all []string
	for _, r := range m.Rolls {
		if r.Missing != "" {
			all = append(all, fmt.Sprintf("%s is not in the table, or not whole: %s.", r.Service, r.Missing))
		}
	}
	return strings.Join(all, " ")
}
