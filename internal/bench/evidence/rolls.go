// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"log"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

const (
	propagation = 2 * time.Second
	clients     = 8 // of each of draintest's kinds

	// startGap keeps rolls that run side by side out of step.
	startGap = 700 * time.Millisecond
)

// rolls terminates each service under clients that never retry and learn of it late.
// Services that cannot be had are left out, and the page says so.
func rolls(ctx context.Context, c config) (*measured, error) {
	shop := newShop(c.root, c.dir)
	rolled := slices.DeleteFunc(slices.Clone(services), func(v service) bool { return !c.services.MatchString(v.name) })
	m := &measured{Rolls: make([]roll, len(rolled)), part: len(rolled) < len(services)}
	commands := make([][]string, len(rolled))
	for i, v := range rolled {
		r := &m.Rolls[i]
		r.Service = v.name
		var err error
		if r.Lines, err = shop.lines(v); err != nil {
			return nil, err
		}
		if r.Version, err = shop.version(ctx, v); err != nil {
			return nil, err
		}
		if commands[i], err = shop.command(ctx, v); err != nil {
			log.Printf("  %s cannot be had: %v", v.name, err)
			r.Missing = err.Error()
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.beside)
	for i, v := range rolled {
		if commands[i] == nil {
			continue
		}
		group.Go(func() error { return m.Rolls[i].measure(ctx, c, v, commands[i]) })
		time.Sleep(startGap)
	}
	return m, group.Wait()
}

func (r *roll) measure(ctx context.Context, c config, v service, command []string) error {
	report, err := draintest.Roll(ctx, draintest.Config{
		Command:      command,
		Env:          append([]string{"XDG_DATA_HOME=" + c.dir, "XDG_CONFIG_HOME=" + c.dir}, v.env...),
		Terminations: c.terminations,
		Propagation:  propagation,
		Clients:      clients,
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // its own fault, which is a result
		r.Missing = err.Error()
	}
	total := report.Total()
	r.Sent, r.Lost, r.Refused, r.Exits = total.Sent, total.Lost(), total.Refused, report.Exits
	median, worst := report.Exit()
	log.Printf("  %s: %d of %d lost, exit %v, %v at worst\n%v", v.name, r.Lost, r.Sent, median, worst, report)
	return nil
}
