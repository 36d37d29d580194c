// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/internal/load"
)

const (
	warmUp = time.Second            // load before the first replacement
	tail   = 500 * time.Millisecond // load after the last one is known everywhere
)

// A rollout is one rolling update under load, and what came of it.
type rollout struct {
	Strategy string
	Took     time.Duration // from the first replacement to the end of the last replica
	Exits    []time.Duration
	Lanes    []lane
	Length   time.Duration
	origin   time.Time

	mu      sync.Mutex
	results []result // guarded by mu
}

// A lane is the life of one replica.
type lane struct {
	ID    string
	Marks []mark
}

// A result is a request's, with the replica that it went to.
type result struct {
	load.Result
	replica string
	refused bool
}

// mix is what the clients do: shares of a hundred. Their think times follow from
// the rate.
var mix = []struct {
	share int
	kind  load.Kind
}{
	{50, load.Kind{Name: "POST"}},
	{20, load.Kind{Name: "GET", Method: "GET"}},
	{20, load.Kind{Name: "new connection", NewConn: true}},
	{10, load.Kind{Name: "slow POST", MinThink: 1 * time.Second, MaxThink: 3 * time.Second}},
}

// roll replaces every replica once, under load.
func roll(ctx context.Context, c config, strategy string, progress *progress) (*rollout, error) {
	r := &rollout{Strategy: strategy, origin: time.Now()}
	origin := r.origin
	b, err := newBalancer(c.propagation, c.rtt)
	if err != nil {
		return nil, err
	}
	defer b.close()
	var all []*process
	defer func() {
		for _, p := range all {
			p.kill()
		}
	}()
	// launchNext starts replicas side by side.
	launchNext := func(n int) error {
		g, gctx := errgroup.WithContext(ctx)
		next := make([]*process, n)
		for i := range next {
			id := fmt.Sprint("replica ", len(all)+i+1)
			g.Go(func() (err error) {
				next[i], err = launch(gctx, c, strategy, id, origin)
				return err
			})
		}
		err := g.Wait()
		for _, p := range next {
			if p != nil {
				all = append(all, p)
				b.add(&p.endpoint)
			}
		}
		return err
	}
	if err := launchNext(c.replicas); err != nil {
		return nil, err
	}

	stopLoad := r.load(ctx, c, b)
	defer stopLoad()
	stopProgress := progress.follow(r, c.replicas)
	defer stopProgress()
	pause(ctx, warmUp)
	begin := time.Now()
	for _, old := range all[:c.replicas] {
		if err := launchNext(1); err != nil {
			return nil, err
		}
		b.remove(&old.endpoint)
		took, err := old.terminate(ctx)
		if err != nil {
			return nil, err
		}
		r.exited(took)
	}
	r.Took = time.Since(begin)
	pause(ctx, c.propagation+tail)
	stopLoad()
	r.Length = time.Since(origin)
	for _, p := range all {
		p.mu.Lock()
		r.Lanes = append(r.Lanes, lane{p.id, p.marks})
		p.mu.Unlock()
	}
	return r, ctx.Err()
}

// load starts the clients. The function that it returns ends them, once they
// have finished what they had begun, and may be called twice.
func (r *rollout) load(ctx context.Context, c config, b *balancer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	addr := b.l.Addr().String()
	fast := c.clients * 90 / 100
	think := max(0, time.Second*time.Duration(fast)/time.Duration(c.rate)-5*time.Millisecond-2*c.rtt)
	for i := range c.clients {
		kind := kindOf(i * 100 / c.clients)
		if kind.MaxThink == 0 {
			kind.MinThink, kind.MaxThink = think/2, think*3/2
		}
		client := &load.Client{
			Kind:   kind,
			Path:   "/",
			Dial:   func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) },
			Record: func(res load.Result) { r.record(res, b.fate(res.Local)) },
		}
		group.Go(func() { client.Run(ctx) })
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// kindOf returns what the client at a place from 0 to 99 does.
func kindOf(place int) load.Kind {
	for _, m := range mix {
		if place < m.share {
			return m.kind
		}
		place -= m.share
	}
	return mix[0].kind
}

func (r *rollout) record(res load.Result, f fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Server == "" {
		res.Server = f.endpoint
	}
	r.results = append(r.results, result{res, res.Server, f.refused})
}

func (r *rollout) exited(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Exits = append(r.Exits, took)
}

// counts returns how many requests were sent and lost so far, and how many
// replicas have been replaced.
func (r *rollout) counts() (sent, lost, replaced int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range r.results {
		if res.Cause != load.OK {
			lost++
		}
	}
	return len(r.results), lost, len(r.Exits)
}

func (r *rollout) sent() int { n, _, _ := r.counts(); return n }
func (r *rollout) lost() int { _, n, _ := r.counts(); return n }

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
