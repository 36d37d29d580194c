// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command evidence measures what Lameduck costs and what it loses, beside other
// libraries in the same run, and writes a page with tables and plots.
//
//	make evidence
//	cd internal/bench && go run ./evidence -only rolls -add
//
// What is measured is kept in results.json beside this program, one entry for each
// section, and the page is written from all of them. So the sections can be measured
// one at a time, and a section be given more rounds by -add.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// terminationsEnv is how many terminations there are of each service.
const terminationsEnv = "LAMEDUCK_TERMINATIONS"

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil && ctx.Err() != nil:
		log.Fatal("interrupted: the sections that were done are kept, and the page is as it was")
	case err != nil:
		log.Fatal(err)
	}
}

// A config is what the command line says.
type config struct {
	root         string // of the repository
	store        string // where the results are kept
	page         string // to be written, with the plots beside it
	only         []string
	add          bool
	rounds       int // of each benchmark; 0: as many as the section has
	terminations int // of each service
	beside       int // how many services are rolled side by side
	services     *regexp.Regexp
	dir          string
}

func run(ctx context.Context, args []string) error {
	c := config{terminations: 10}
	if s := os.Getenv(terminationsEnv); s != "" {
		var err error
		if c.terminations, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("%s: %w", terminationsEnv, err)
		}
	}
	f := flag.NewFlagSet("evidence", flag.ContinueOnError)
	f.StringVar(&c.root, "root", "../..", "the `directory` of the repository")
	only := f.String("only", strings.Join(sectionNames(), ","), "the `sections` to measure; empty: write the page alone")
	f.BoolVar(&c.add, "add", false, "add to what was measured before, rather than replace it")
	f.IntVar(&c.rounds, "rounds", 0, "how many `rounds` of each benchmark (default: the section's)")
	f.IntVar(&c.terminations, "terminations", c.terminations, "how `many` terminations of each service, by default $"+terminationsEnv)
	f.IntVar(&c.beside, "beside", 3, "how `many` services to roll side by side")
	services := f.String("services", "", "only the services whose names match the `regexp`; the figures of others stay as they are")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if c.services, err = regexp.Compile(*services); err != nil {
		return fmt.Errorf("-services: %w", err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if _, err := os.Stat(filepath.Join(c.root, "internal/bench/evidence")); err != nil {
		return fmt.Errorf("-root is not the repository: %w", err)
	}
	c.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	c.store = filepath.Join(c.root, "internal/bench/evidence/results.json")
	c.page = filepath.Join(c.root, "examples/docs/benchmarks.md")
	if err := measure(ctx, c); err != nil {
		return err
	}
	results, err := load(c.store)
	if err != nil {
		return err
	}
	return write(c.page, results)
}

// measure measures the sections, and keeps each as soon as it is done.
func measure(ctx context.Context, c config) error {
	for _, name := range c.only {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("no section %q; there are %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	if !slices.ContainsFunc(services, func(v service) bool { return c.services.MatchString(v.name) }) {
		return fmt.Errorf("no service matches -services %q", c.services)
	}
	if c.terminations < 1 || c.beside < 1 || c.rounds < 0 {
		return errors.New("too few terminations, rounds or services side by side")
	}
	var err error
	if c.dir, err = os.MkdirTemp("", "evidence"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	for _, s := range sections {
		if !slices.Contains(c.only, s.name) {
			continue
		}
		log.Printf("%s ...", s.name)
		began := time.Now()
		machine, err := thisMachine(ctx, c.root)
		if err != nil {
			return err
		}
		if err := c.fits(s.name, machine); err != nil { // before it takes an hour
			return err
		}
		measured, err := s.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		measured.Took, measured.Machine = time.Since(began), machine
		if err := keep(c.store, s.name, measured, c.add); err != nil {
			return err
		}
		log.Printf("%s took %v", s.name, measured.Took.Round(time.Second))
	}
	return nil
}

// fits returns an error if a section was measured elsewhere, and some of that is to be
// kept.
func (c config) fits(section string, here machine) error {
	all, err := load(c.store)
	if err != nil {
		return err
	}
	old := all[section]
	part := section == "rolls" && slices.ContainsFunc(services, func(v service) bool { return !c.services.MatchString(v.name) })
	if old == nil || !c.add && !part {
		return nil
	}
	if err := old.fits(here); err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	return nil
}
