// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/perf/benchfmt"
)

// A suite is the benchmarks of a package. They are run in rounds, each of all of
// them, so that what disturbs the machine for a moment spoils one value of each and
// not all values of one. Ratios are those of a round.
type suite struct {
	dir, match string
	benchtime  string
	rounds     int
}

func (s suite) measure(ctx context.Context, c config) (*measured, error) {
	program := filepath.Join(c.dir, "bench.test")
	dir := filepath.Join(c.root, s.dir)
	if out, err := exec.CommandContext(ctx, "go", "test", "-C", dir, "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	m := new(measured)
	rounds := s.rounds
	if c.rounds > 0 {
		rounds = c.rounds
	}
	for i := range rounds {
		log.Printf("  round %d of %d", i+1, rounds)
		cmd := exec.CommandContext(ctx, program, "-test.run=^$", "-test.bench="+s.match, "-test.benchtime="+s.benchtime)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		r, err := parse(bytes.NewReader(out))
		if err != nil {
			return nil, err
		}
		m.Rounds = append(m.Rounds, r)
	}
	return m, nil
}

// procs is what is put after a name where GOMAXPROCS is not one.
var procs = regexp.MustCompile(`-\d+$`)

// parse reads what the benchmarks of a round print. Units are as they are reported.
func parse(r io.Reader) (round, error) {
	all := make(round)
	reader := benchfmt.NewReader(r, "")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.Result:
			values := make(map[string]float64)
			for _, v := range record.Values {
				if v.OrigUnit != "" { // such as ns/op, tidied into seconds
					values[v.OrigUnit] = v.OrigValue
				} else {
					values[v.Unit] = v.Value
				}
			}
			all[procs.ReplaceAllString(record.Name.String(), "")] = values
		case *benchfmt.SyntaxError:
			return nil, record
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no benchmark has run")
	}
	return all, nil
}
