// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command slow runs tests as on a machine that is slow, or that stands still at times.
// It fails if one of them does: what a test says must not depend on the machine's speed.
//
// The test binary of each package, built for the race detector, runs in a control group
// of its own, with whatever processes it starts. The group may run for -run, is stopped
// for -stop, and so on until the tests are over. Its clocks go on meanwhile, and so does
// the kernel: packets arrive, timers run out. With 20 and 80 ms that is a fifth of the
// machine, of which other packages take their part at the same time; with seconds it is a
// virtual machine that is moved, or a laptop that sleeps.
//
// It prints a line for each package, and all that a package said if that one failed. The
// exit status is 1 if tests failed, 2 for flags that make no sense, and 3 if they could not
// be run. It takes root, and a control group of version 2 to be mounted.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A config is what the command line says.
type config struct {
	run, stop time.Duration
	parallel  int      // packages at once
	args      []string // for the test binaries
	packages  []string
}

// A binary holds the tests of a package.
type binary struct {
	pkg  string // its import path
	dir  string // where its tests run
	path string
}

var (
	errFailed = errors.New("tests failed")
	errUsage  = errors.New("usage")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c, err := parse(os.Args[1:], os.Stderr)
	if err == nil {
		err = slow(ctx, c, os.Stdout)
	}
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "slow:", err)
		os.Exit(2)
	case errors.Is(err, errFailed):
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "slow:", err)
	os.Exit(3)
}

// parse reads the command line.
func parse(args []string, out io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("slow", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.DurationVar(&c.run, "run", 20*time.Millisecond, "how long the tests run before each stop")
	flags.DurationVar(&c.stop, "stop", 80*time.Millisecond, "how long they are stopped")
	flags.IntVar(&c.parallel, "p", 6, "packages at once")
	only := flags.String("only", "", "regular `expression` of the tests to run")
	skip := flags.String("skip", "", "regular `expression` of the tests to leave out")
	limit := flags.Duration("timeout", time.Hour, "of each package")
	count := flags.Int("count", 1, "how often each test runs")
	flags.Usage = func() {
		fmt.Fprintln(out, "usage: go run ./internal/slow [flags] [packages]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return c, err
	} else if err != nil {
		return c, fmt.Errorf("%w: %w", errUsage, err)
	}
	if c.run <= 0 || c.stop <= 0 || c.parallel <= 0 || *count <= 0 {
		return c, fmt.Errorf("%w: -run, -stop, -p and -count have to be above 0", errUsage)
	}
	if c.packages = flags.Args(); len(c.packages) == 0 {
		c.packages = []string{"./..."}
	}
	c.args = []string{
		"-test.shuffle=on",
		"-test.run=" + *only,
		"-test.skip=" + *skip,
		fmt.Sprint("-test.timeout=", *limit),
		fmt.Sprint("-test.count=", *count),
	}
	return c, nil
}

// slow builds the tests and runs them.
func slow(ctx context.Context, c config, out io.Writer) error {
	dir, err := os.MkdirTemp("", "slow")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := build(ctx, dir, c.packages)
	if err != nil {
		return err
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex // of out and failed
		failed  error
		turns   = make(chan struct{}, c.parallel)
	)
	for _, b := range binaries {
		turns <- struct{}{}
		running.Go(func() {
			line, err := b.test(ctx, c)
			mu.Lock()
			fmt.Fprint(out, line)
			failed = errors.Join(failed, err)
			mu.Unlock()
			<-turns
		})
	}
	running.Wait()
	return failed
}

// build makes the test binaries of the packages in dir.
func build(ctx context.Context, dir string, packages []string) ([]binary, error) {
	const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}"
	list, err := command(ctx, append([]string{"list", "-f", format}, packages...)...)
	if err != nil {
		return nil, err
	}
	var all []binary
	for line := range strings.Lines(string(list)) {
		pkg, src, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		b := binary{pkg: pkg, dir: src, path: filepath.Join(dir, fmt.Sprint(len(all), ".test"))}
		if _, err := command(ctx, "test", "-race", "-c", "-o", b.path, pkg); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no tests in %s", errUsage, strings.Join(packages, " "))
	}
	return all, nil
}

// command runs the go command.
func command(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return stdout, nil
}

// test runs the tests of a binary, slowly, and says in a line how that went.
func (b binary) test(ctx context.Context, c config) (line string, err error) {
	var output bytes.Buffer
	cmd := exec.Command(b.path, c.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, &output, &output
	begin := time.Now()
	stops, err := run(ctx, cmd, c.run, c.stop)
	line = fmt.Sprintf("%s\t%.1fs\tstopped %d times\n", b.pkg, time.Since(begin).Seconds(), stops)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "ok  \t" + line, nil
	case errors.As(err, &exit) && ctx.Err() == nil:
		return output.String() + "FAIL\t" + line, errFailed
	}
	return "FAIL\t" + line, fmt.Errorf("%s: %w", b.pkg, err)
}

// run runs a command in a control group that is stopped again and again, and says how often.
// When it returns none of the processes that the command has started is left.
func run(ctx context.Context, cmd *exec.Cmd, length, stop time.Duration) (stops int, err error) {
	g, err := newGroup()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	g.hold(cmd)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var (
		over  = make(chan struct{})
		count atomic.Int64
		fault error
		both  sync.WaitGroup
	)
	both.Go(func() {
		fault = g.stutter(ctx, over, length, stop, &count)
	})
	err = cmd.Wait()
	close(over)
	both.Wait()
	return int(count.Load()), errors.Join(fault, err, ctx.Err())
}
