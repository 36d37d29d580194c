// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command soak does rolling updates until a time is over, and fails if one of them
// loses a request or if anything grows meanwhile: goroutines, file descriptors, the
// heap or the memory of the process.
//
// Each round is a roll whose replicas are processes of their own, a roll whose
// replicas are Apps in this process, and a number of Apps that only start and stop
// here. After it this process is at rest, and what it then holds is a point of the
// curve; what a replica holds when its App has ended is another.
//
// It ends with a table of the curve, and compares its first quarter with its last.
// The exit status is 1 if something was lost or has grown, 2 for flags that make no
// sense, and 3 if a round could not be done. An interrupt ends it early, with the
// table of what there is: the roll that it cuts short is not counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// A config is what the flags say.
type config struct {
	length       time.Duration // of the whole; no round begins later
	rounds       int           // at least
	every        time.Duration // between two lines
	mode         string
	terminations int // of each roll; 0: no rolls
	cycles       int // of Apps in each round that only start and stop
	floor        time.Duration
	rest         time.Duration // how long what is over may take to be gone
	leak         string
}

func main() {
	if os.Getenv(replicaEnv) != "" {
		os.Exit(replica())
	}
	c, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, c, os.Stdout)
	stop()
	os.Exit(code)
}

// run soaks, and reports on it.
func run(ctx context.Context, c config, out io.Writer) (code int) {
	curve, err := soak(ctx, c, out)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(out, "soak:", err)
		code = 3
	}
	fmt.Fprintf(out, "\n%s\n", curve)
	for _, fault := range curve.faults() {
		fmt.Fprintln(out, "FAULT:", fault)
		code = 1
	}
	return code
}

// parse reads the flags.
func parse(args []string, out io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(out)
	f.DurationVar(&c.length, "for", 10*time.Minute, "`time` after which no round begins")
	f.IntVar(&c.rounds, "rounds", 4, "`number` of rounds at least; fewer than four say nothing of growth")
	f.DurationVar(&c.every, "every", 0, "`time` between two lines (default: a twentieth of the whole)")
	f.StringVar(&c.mode, "mode", both, "what the replicas are: processes, apps of this process, or both")
	f.IntVar(&c.terminations, "terminations", 5, "`number` of replicas that each roll terminates; 0: no rolls")
	f.IntVar(&c.cycles, "cycles", 100, "`number` of apps in each round that only start and stop")
	f.DurationVar(&c.floor, "floor", 300*time.Millisecond, "`time` for which a replica accepts connections at least")
	f.DurationVar(&c.rest, "rest", 5*time.Second, "`time` that goroutines may take to end when what they were for is over")
	f.StringVar(&c.leak, "leak", "", "have each app leak a goroutine, a descriptor or memory, or lose a request, to see that it is found")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.every == 0 {
		c.every = c.length / 20
	}
	return c, c.check(f.Args())
}

// check reports the first flag that makes no sense, by name.
func (c config) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case c.length < 0:
		return fmt.Errorf("-for %v is negative", c.length)
	case c.every < 0:
		return fmt.Errorf("-every %v is negative", c.every)
	case !strings.Contains(" processes apps both ", " "+c.mode+" "):
		return fmt.Errorf("-mode %q is neither processes nor apps nor both", c.mode)
	case c.rounds < 0:
		return fmt.Errorf("-rounds %d is negative", c.rounds)
	case c.terminations < 0:
		return fmt.Errorf("-terminations %d is negative", c.terminations)
	case c.cycles < 0:
		return fmt.Errorf("-cycles %d is negative", c.cycles)
	case c.floor <= 0 || c.floor > 15*time.Second: // it has to fit the grace period
		return fmt.Errorf("-floor %v: want more than 0s, to 15s", c.floor)
	case c.rest < 0:
		return fmt.Errorf("-rest %v is negative", c.rest)
	case !strings.Contains("  goroutine descriptor memory request ", " "+c.leak+" "):
		return fmt.Errorf("-leak %q is none of goroutine, descriptor, memory, request", c.leak)
	}
	return nil
}
