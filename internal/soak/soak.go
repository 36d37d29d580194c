// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// What replicas are.
const (
	processes = "processes"
	apps      = "apps"
	both      = "both"
)

// kinds are the clients. They never retry, and their think times are short: a replica
// is gone a second after it was told to go.
func kinds() []draintest.Kind {
	const ms = time.Millisecond
	return []draintest.Kind{
		{Name: "POST, 5 ms", MaxThink: 10 * ms},
		{Name: "GET, 50 ms", Method: "GET", MinThink: 25 * ms, MaxThink: 75 * ms},
		{Name: "new connection, 20 ms", NewConn: true, MinThink: 10 * ms, MaxThink: 30 * ms},
		{Name: "h2c", Proto: "h2c", Streams: 3, MinThink: 5 * ms, MaxThink: 15 * ms},
		{Name: "h2c, streaming", Proto: "h2c", Streaming: true, MaxThink: 10 * ms},
	}
}

// A soaking is one run of the program.
type soaking struct {
	config
	curve  curve
	before holds  // this process, when it began
	told   string // the file in which replicas say what they hold at their end
}

// soak does one round after the other, and writes a line now and then.
func soak(ctx context.Context, c config, out io.Writer) (*curve, error) {
	s := &soaking{config: c}
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return &s.curve, err
	}
	defer os.RemoveAll(dir)
	s.told, s.before = filepath.Join(dir, "replicas"), warm()
	begin, said := time.Now(), time.Time{}
	fmt.Fprint(out, header)
	for len(s.curve.points) < c.rounds || time.Since(begin) < c.length {
		if err := s.round(ctx); err != nil {
			return &s.curve, err
		}
		p, err := s.point(time.Since(begin))
		if err != nil {
			return &s.curve, err
		}
		s.curve.points = append(s.curve.points, p)
		if time.Since(said) >= c.every {
			said = time.Now()
			fmt.Fprint(out, p)
		}
	}
	return &s.curve, nil
}

// round does a round.
func (s *soaking) round(ctx context.Context) error {
	if s.rollsProcesses() {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c := s.rollConfig()
		c.Command, c.Output = []string{self}, os.Stderr
		c.Env = []string{
			replicaEnv + "=" + s.told, leakEnv + "=" + s.leak, restEnv + "=" + s.rest.String(), parentEnv + "=" + strconv.Itoa(os.Getpid()),
			"SHUTDOWN_DELAY=" + s.floor.String(), "GRACE_PERIOD=30s",
		}
		if err := s.roll(ctx, c); err != nil {
			return err
		}
	}
	if s.mode == processes {
		return nil
	}
	if s.terminations > 0 {
		c := s.rollConfig()
		c.Serve = func(ctx context.Context, l net.Listener) error { return newService(l, s.floor, s.leak).Run(ctx) }
		if err := s.roll(ctx, c); err != nil {
			return err
		}
	}
	for range s.cycles {
		if err := s.cycle(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *soaking) rollsProcesses() bool { return s.mode != apps && s.terminations > 0 }

func (s *soaking) rollConfig() draintest.Config {
	return draintest.Config{
		Terminations: s.terminations,
		Kinds:        kinds(),
		Propagation:  s.floor / 2,
		Settle:       s.floor / 2,
	}
}

// roll rolls, and adds up what came of it. What an interrupt kills loses its requests,
// which says nothing of the library.
func (s *soaking) roll(ctx context.Context, c draintest.Config) error {
	r, err := draintest.Roll(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r != nil {
		s.curve.rolls.Add(r)
		s.curve.terminations += len(r.Exits)
		s.curve.rolls.Exits = nil // or else they would be what grows
	}
	return err
}

// cycle starts an App and stops it as soon as it has started.
func (s *soaking) cycle(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	app := newService(l, -1, s.leak)
	app.Observers = append(app.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			app.Shutdown("it has started")
		}
	})
	s.curve.cycles++
	return app.Run(ctx)
}

// point is taken after a round.
func (s *soaking) point(at time.Duration) (point, error) {
	total := s.curve.rolls.Total()
	p := point{
		at:           at,
		terminations: s.curve.terminations,
		cycles:       s.curve.cycles,
		sent:         total.Sent,
		lost:         total.Lost(),
		own:          atRest(s.before, s.rest),
		replicas:     holds{unknown, unknown, unknown, unknown},
	}
	var err error
	if s.rollsProcesses() {
		p.replicas, err = worst(s.told)
	}
	return p, err
}
