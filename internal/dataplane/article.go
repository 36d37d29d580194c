// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// An article is the experiment of the articles on rolling updates: fortio asks a
// NodePort for answers of 27.8 kB while all three replicas are replaced.
type article struct {
	strategy    string
	fortio      string
	options     []string // of fortio load, beside the article's
	length      time.Duration
	warmUp      time.Duration
	propagation func(*rand.Rand) time.Duration

	out     string
	rollout time.Duration // from the first new replica until the last old one was gone
	ended   []termination
}

const articlePath = "/?bytes=27800&ms=15"

func (a *article) argv(url string) []string {
	argv := []string{a.fortio, "load", "-a", "-c", "8", "-qps", "1000", "-t", a.length.String()}
	return append(append(argv, a.options...), url)
}

// run does one rolling update as a Deployment with maxSurge 1 and maxUnavailable 0
// does: the next old replica is deleted when another new one is ready, whether those
// before have ended or not.
func (a *article) run(ctx context.Context, seed *rand.Rand, dir string) error {
	j := job{plane: "nftables", strategy: a.strategy, propagation: a.propagation}
	r, err := newRig(j, seed, dir, 2*replicas)
	if err != nil {
		return err
	}
	defer r.close()
	slots := hosts(2 * replicas)
	if err := r.plane.start(r.lab, r.dir, nil); err != nil {
		return err
	}
	var old []*process
	for _, h := range slots[:replicas] {
		p, err := r.launch(ctx, h)
		if err != nil {
			return err
		}
		old = append(old, p)
	}
	if err := r.warmUp(ctx, old); err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() (err error) {
		ctx, cancel := context.WithTimeoutCause(ctx, a.length+segmentMore, errors.New("fortio does not end"))
		defer cancel()
		a.out, err = r.output(ctx, a.argv("http://"+r.addr("")+articlePath))
		return err
	})
	all.Go(func() error {
		pause(ctx, a.warmUp)
		return a.roll(ctx, r, old, slots[replicas:])
	})
	return all.Wait()
}

// roll replaces the old replicas by new ones on other hosts.
func (a *article) roll(ctx context.Context, r *rig, old []*process, hosts []string) error {
	begin := time.Now()
	a.ended = make([]termination, len(old))
	ends, ctx := errgroup.WithContext(ctx)
	for i, p := range old {
		if _, err := r.launch(ctx, hosts[i]); err != nil {
			ends.Go(func() error { return err })
			break
		}
		ends.Go(func() (err error) { a.ended[i], err = r.terminate(ctx, p); return err })
	}
	err := ends.Wait()
	for _, t := range a.ended {
		a.rollout = max(a.rollout, t.begin.Add(t.exit).Sub(begin))
	}
	return err
}

// articleLines are what the article quotes of fortio's output, and how many sockets
// it has used. Of the percentiles it is the first that is about calls.
var articleLines = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^# target 99\.9%.*$`),
	regexp.MustCompile(`(?m)^Sockets used.*$`),
	regexp.MustCompile(`(?m)^Code +-1 : .*$`),
	regexp.MustCompile(`(?m)^Code +\d.*$`),
	regexp.MustCompile(`(?m)^All done.*$`),
}

func (a *article) print(w io.Writer) {
	fmt.Fprintf(w, "%s: fortio %s\n", a.strategy, strings.TrimSpace(strings.Join(a.argv("")[1:], " ")))
	for _, line := range articleLines {
		if s := line.FindString(a.out); s != "" {
			fmt.Fprintln(w, "   ", s)
		}
	}
	fmt.Fprintf(w, "    rollout %.1f s; the node was told of the removals after", a.rollout.Seconds())
	for _, t := range a.ended {
		fmt.Fprintf(w, " %.1f", t.propagation.Seconds())
	}
	fmt.Fprint(w, " s\n\n")
}

// fault says what is wrong with what has come of it. That a strategy without the
// library loses nothing is not: with eight connections that happens.
func (a *article) fault() string {
	_, lost, err := parseFortio(a.out)
	switch {
	case err != nil:
		return fmt.Sprintf("fortio: %v: %s", err, strings.TrimSpace(a.out[max(0, len(a.out)-200):]))
	case a.strategy == lameduck && lost > 0 && !slices.ContainsFunc(a.ended, termination.beyondCap):
		return fmt.Sprintf("%d lost", lost)
	}
	return ""
}
