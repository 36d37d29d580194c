// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

// Command dataplane has real data planes route to replicas of a service while these
// are terminated, and counts what is lost: see README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if strategy := os.Getenv(replicaEnv); strategy != "" {
		replica(strategy)
		return
	}
	code, err := start(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dataplane:", err)
		code = cmp.Or(code, 3)
	}
	os.Exit(code)
}

func start(args []string) (int, error) {
	c, err := parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, err
	}
	if c.dir = os.Getenv(insideEnv); c.dir == "" {
		return enclose()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := settleIn(c.dir); err != nil {
		return 0, err
	}
	return run(ctx, c, os.Stdout)
}
