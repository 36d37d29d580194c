// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command rollout shows what a rolling update loses. It starts replicas of a
// service as processes, puts a layer-4 balancer in front that learns of removals
// late, drives load through it with clients that never retry, and replaces one
// replica after another: once for each way of ending a process.
//
// It prints a table and writes a page with the timeline of each rollout. Its
// exit status is 1 if Lameduck lost a request, 2 for flags that make no sense,
// and 3 if the demonstration could not be done.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A config is what the flags say.
type config struct {
	replicas    int
	rate        int
	clients     int
	propagation time.Duration
	rtt         time.Duration
	floor       time.Duration
	sleep       time.Duration
	strategies  []string
	json        bool
	out         string
}

func main() {
	if strategy := os.Getenv(strategyEnv); strategy != "" {
		replica(strategy)
		return
	}
	c, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends()...)
	code, err := run(ctx, c, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		code = cmp.Or(code, 3)
	}
	os.Exit(code)
}

// ends returns the signals that end the program.
func ends() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// run does a rollout for each strategy and reports on them. The code goes before
// the one that an error would have.
func run(ctx context.Context, c config, stdout, stderr io.Writer) (code int, err error) {
	if err := checkOut(c.out); err != nil {
		return 2, fmt.Errorf("-out %s: %w", c.out, err)
	}
	talk := stdout
	if c.json {
		talk = stderr
	}
	progress := newProgress(talk)
	var done []*rollout
	for _, s := range c.strategies {
		r, err := roll(ctx, c, s, progress)
		if err != nil {
			return code, fmt.Errorf("%s: %w", s, err)
		}
		done = append(done, r)
		progress.line("%-9s done: %d sent, %d lost, %.1f s", s, r.sent(), r.lost(), r.Took.Seconds())
		if s == lameduck && r.lost() > 0 {
			code = 1
		}
	}
	if c.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(summaries(done))
	} else {
		_, err = fmt.Fprintf(stdout, "\n%s\n", table(done))
	}
	if pageErr := writePage(c.out, c, done); pageErr != nil {
		return code, errors.Join(err, pageErr)
	}
	fmt.Fprintln(talk, "timeline:", c.out)
	return code, err
}

// parse reads the flags.
func parse(args []string, out io.Writer) (config, error) {
	var c config
	var strategies string
	f := flag.NewFlagSet("rollout", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&c.replicas, "replicas", 3, "`number` of replicas, each replaced once")
	f.IntVar(&c.rate, "rate", 1500, "requests per `second`, about")
	f.IntVar(&c.clients, "clients", 60, "`number` of clients that never retry")
	f.DurationVar(&c.propagation, "propagation", 1500*time.Millisecond, "longest `time` until the balancer's nodes know of a removal")
	f.DurationVar(&c.rtt, "rtt", 2*time.Millisecond, "round-trip `time` that the balancer adds")
	f.DurationVar(&c.floor, "floor", 2*time.Second, "Lameduck's floor: shortest `time` for which new connections are accepted")
	f.DurationVar(&c.sleep, "sleep", 5*time.Second, "`time` that the sleep strategy sleeps")
	f.StringVar(&strategies, "strategies", strings.Join(allStrategies, ","), "comma-separated `list`")
	f.BoolVar(&c.json, "json", false, "print JSON instead of the table")
	f.StringVar(&c.out, "out", "rollout.html", "`file` for the page with the timelines")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(out)
			f.Usage()
		}
		return c, err
	}
	c.strategies = strings.Split(strategies, ",")
	return c, c.check(f.Args())
}

// check reports the first flag that makes no sense, by name.
func (c config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case c.replicas < 1 || c.replicas > 20:
		return fmt.Errorf("-replicas %d: want 1 to 20", c.replicas)
	case c.rate < 1 || c.rate > 20000:
		return fmt.Errorf("-rate %d: want 1 to 20000", c.rate)
	case c.clients < len(mix) || c.clients > 2000:
		return fmt.Errorf("-clients %d: want %d to 2000", c.clients, len(mix))
	case c.propagation < 0 || c.propagation > 20*time.Second:
		return fmt.Errorf("-propagation %v: want 0s to 20s", c.propagation)
	case c.rtt < 0 || c.rtt > time.Second:
		return fmt.Errorf("-rtt %v: want 0s to 1s", c.rtt)
	case c.floor < 0 || c.floor > 15*time.Second: // it has to fit the grace period
		return fmt.Errorf("-floor %v: want 0s to 15s", c.floor)
	case c.out == "":
		return errors.New(`-out "": want a file`)
	case c.sleep < 0 || c.sleep > time.Minute:
		return fmt.Errorf("-sleep %v: want 0s to 1m", c.sleep)
	}
	for _, s := range c.strategies {
		if !slices.Contains(allStrategies, s) {
			return fmt.Errorf("-strategies: %q is none of %s", s, strings.Join(allStrategies, ", "))
		}
	}
	return nil
}
