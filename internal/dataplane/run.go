// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A config is what the flags say.
type config struct {
	terminations int
	naive        int
	parallel     int
	seed         uint64
	article      time.Duration
	parts        []string
	planes       []string
	strategies   []string
	clients      []string
	fortio       string
	dir          string
}

var allParts = []string{"planes", "beyond", "article"}

// parse reads the flags.
func parse(args []string, out io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("dataplane", flag.ContinueOnError)
	f.SetOutput(out)
	list := func(dst *[]string, name string, all []string, usage string) {
		*dst = all
		f.Func(name, usage+": comma-separated `list` of "+strings.Join(all, ", ")+" (default all)", func(s string) error {
			*dst = strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
			for _, one := range *dst {
				if !slices.Contains(all, one) {
					return fmt.Errorf("%q is none of them", one)
				}
			}
			return nil
		})
	}
	f.IntVar(&c.terminations, "terminations", 2, "`number` of replicas that Lameduck takes down on each data plane")
	f.IntVar(&c.naive, "naive", 2, "`number` of replicas that each other strategy takes down there")
	f.IntVar(&c.parallel, "parallel", 13, "`number` of rigs at work at once")
	f.Uint64Var(&c.seed, "seed", rand.Uint64N(1e6), "`number` that the propagation delays are drawn from")
	f.DurationVar(&c.article, "article", 26*time.Second, "`time` for which fortio runs in the article's experiment")
	f.StringVar(&c.fortio, "fortio", "fortio", "fortio's `program`")
	list(&c.parts, "parts", allParts, "what to run")
	list(&c.planes, "planes", planes, "data planes")
	list(&c.clients, "clients", foreignNames(), "clients of others beside our own")
	list(&c.strategies, "strategies", []string{shutdown, sleep, lameduck}, "ways to end a replica")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	switch {
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.terminations < 1 || c.naive < 1 || c.parallel < 1:
		return c, fmt.Errorf("a number below 1")
	case c.article < preStopSleeps+4*time.Second:
		return c, fmt.Errorf("-article %v: want 24s or more", c.article)
	}
	return c, nil
}

// The propagation of a removal as measured on 100 nodes with nftables: median and
// 99th percentile of NetworkProgrammingLatency in kubernetes/kubernetes#124272.
const (
	propagationP50 = 1500 * time.Millisecond
	propagationP99 = 6800 * time.Millisecond
)

// drawn is log-normal with these two.
func drawn(r *rand.Rand) time.Duration {
	const z99 = 2.326 // standard deviations
	sigma := math.Log(float64(propagationP99)/float64(propagationP50)) / z99
	return time.Duration(float64(propagationP50) * math.Exp(sigma*r.NormFloat64()))
}

func fixed(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

// beyondCap is a propagation that the accept window, which ends at half of the
// drain's time, does not wait for.
const beyondCap = 25 * time.Second

// requiredEnv, set to "required", makes it an error that something is not installed.
const requiredEnv = "LAMEDUCK_CLIENTS"

// run does all that the config asks for and prints what came of it.
func run(ctx context.Context, c config, out io.Writer) (int, error) {
	there, missing := available(foreigners(c.fortio), c.clients)
	c.planes = slices.DeleteFunc(slices.Clone(c.planes), func(p string) bool {
		why := lacks(p)
		if why != "" {
			missing = append(missing, why)
		}
		return why != ""
	})
	fmt.Fprintf(out, "seed %d; %d replicas, %v from host to host, so a round trip to a replica takes %v; propagation log-normal, p50 %v, p99 %v\n",
		c.seed, replicas, oneWay, 4*oneWay, propagationP50, propagationP99)
	if len(missing) > 0 {
		fmt.Fprintf(out, "not to be had here, and so left out: %s\n", strings.Join(missing, ", "))
		if os.Getenv(requiredEnv) == "required" {
			return 0, fmt.Errorf("something is not to be had, and %s=required", requiredEnv)
		}
	}
	var code int
	if slices.Contains(c.parts, "article") {
		lost, err := c.runArticle(ctx, there, out)
		if err != nil {
			return 0, err
		}
		code = max(code, lost)
	}
	outcomes, err := c.runJobs(ctx, c.jobs(there), &serial{w: out})
	if len(outcomes) > 0 {
		report(out, outcomes)
	}
	for _, o := range outcomes {
		if fault := o.fault(); fault != "" {
			fmt.Fprintf(out, "FAIL: %s, %s: %s\n", o.name, o.strategy, fault)
			code = 1
		}
	}
	return code, err
}

// runJobs returns what came of the jobs, and the errors of those that could not be
// done: one takes minutes, and the others are worth having.
func (c config) runJobs(ctx context.Context, jobs []job, out io.Writer) (done []*outcome, err error) {
	outcomes, errs := make([]*outcome, len(jobs)), make([]error, len(jobs))
	c.each(ctx, len(jobs), func(ctx context.Context, i int, seed *rand.Rand) error {
		o, err := jobs[i].run(ctx, seed, c.dir)
		if err != nil {
			errs[i] = fmt.Errorf("%s, %s: %w", jobs[i].name, jobs[i].strategy, err)
			return nil
		}
		outcomes[i] = o
		fmt.Fprintf(out, "%s, %s: done in %.0f s, %d ended, %d lost of %d\n",
			o.name, o.strategy, o.took.Seconds(), len(o.terminations), o.balance.sent-o.balance.answered, o.balance.sent)
		return nil
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return slices.DeleteFunc(outcomes, func(o *outcome) bool { return o == nil }), errors.Join(errs...)
}

// A serial writer is for several goroutines.
type serial struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// each calls f for 0 to n-1, so many at once as the config says. Each has random
// numbers of its own, the same ones in every run of one seed.
func (c config) each(ctx context.Context, n int, f func(ctx context.Context, i int, seed *rand.Rand) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return f(ctx, i, rand.New(rand.NewPCG(c.seed, uint64(i))))
		})
	}
	return g.Wait()
}

// jobs are the data planes' rows of the table. The longest come first.
func (c config) jobs(there []foreign) (jobs []job) {
	order := slices.Clone(c.strategies)
	slices.SortStableFunc(order, func(a, b string) int { return slices.Index(strategyOrder, a) - slices.Index(strategyOrder, b) })
	if slices.Contains(c.parts, "planes") {
		for _, s := range order {
			for _, p := range c.planes {
				j := job{name: p, plane: p, strategy: s, terminations: c.naive, propagation: drawn, foreign: there, segment: 10 * time.Second}
				if s == lameduck {
					j.terminations = c.terminations
				}
				jobs = append(jobs, j)
			}
		}
	}
	if slices.Contains(c.parts, "beyond") && slices.Contains(c.planes, "nftables") {
		jobs = append(jobs, job{name: fmt.Sprint("nftables, ", beyondCap), plane: "nftables", strategy: lameduck,
			terminations: 1, propagation: fixed(beyondCap), beyond: true})
	}
	return jobs
}

var strategyOrder = []string{lameduck, sleep, shutdown}

// runArticle does the article's experiment for each strategy and client, and
// returns 1 if Lameduck has lost something, or if that is not known.
func (c config) runArticle(ctx context.Context, there []foreign, out io.Writer) (code int, err error) {
	if !slices.ContainsFunc(there, func(f foreign) bool { return f.name == "fortio" }) {
		fmt.Fprintln(out, "no fortio, so not the article's experiment")
		return 0, nil
	}
	if !installed("nftables") {
		fmt.Fprintln(out, "no nftables, so not the article's experiment")
		return 0, nil
	}
	var all []*article
	for _, options := range [][]string{nil, {"-stdclient", "-payload", "body"}} {
		for _, s := range []string{exit, shutdown, preStop, lameduck} {
			all = append(all, &article{strategy: s, fortio: c.fortio, options: options, length: c.article,
				warmUp: min(10*time.Second, (c.article-preStopSleeps)/2), propagation: drawn})
		}
	}
	err = c.each(ctx, len(all), func(ctx context.Context, i int, _ *rand.Rand) error {
		// The strategies have the same propagation, to be compared.
		return all[i].run(ctx, rand.New(rand.NewPCG(c.seed, uint64(len(all[i].options)))), c.dir)
	})
	if err != nil {
		return 0, err
	}
	for _, a := range all {
		a.print(out)
		if fault := a.fault(); fault != "" {
			fmt.Fprintf(out, "FAIL: the article's experiment, %s: %s\n", a.strategy, fault)
			code = 1
		}
	}
	return code, nil
}
