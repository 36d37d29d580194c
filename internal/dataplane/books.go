// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"strconv"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// Books have two sides: what the clients have sent and what came of it, and what
// the replicas have run, by the id of each request.
type books struct {
	mu       sync.Mutex // guards what follows
	requests map[uint64]*entry
	kinds    map[string]*tally
	losses   []loss
	foreign  map[string]int // how often the replicas have run a request of a client of others
}

// An entry is one request.
type entry struct {
	sent, answered bool
	runs, done     int // how often a handler has begun, and has ended
}

// A tally is what became of the requests of one kind.
type tally struct {
	sent, dials int
	causes      [load.Causes]int
}

func (t *tally) lost() int { return t.sent - t.causes[load.OK] }

// A loss is a request without an answer.
type loss struct {
	at   time.Time
	kind string
	err  error
}

// A balance is what the two sides say together.
type balance struct {
	sent, answered int
	neverRan       int // lost, and no handler has begun
	void           int // lost, and a handler has ended: answered into the void
	twice          int // run more than once, so somebody has sent it again
	orphans        int // answered and not run, or run and not sent: the books are wrong
}

func newBooks() *books {
	return &books{requests: make(map[uint64]*entry), kinds: make(map[string]*tally), foreign: make(map[string]int)}
}

func (b *books) entry(id uint64) *entry {
	e := b.requests[id]
	if e == nil {
		e = new(entry)
		b.requests[id] = e
	}
	return e
}

// client books a request that is over.
func (b *books) client(r load.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(r.ID)
	e.sent, e.answered = true, r.Cause == load.OK
	t := b.kinds[r.Kind.Name]
	if t == nil {
		t = new(tally)
		b.kinds[r.Kind.Name] = t
	}
	t.sent++
	t.causes[r.Cause]++
	if !r.Reused {
		t.dials++
	}
	if r.Cause != load.OK {
		b.losses = append(b.losses, loss{r.Start.Add(r.Latency), r.Kind.Name, r.Err})
	}
}

// server books an event of a replica: "+" and an id when a handler begins, "-" and
// the id when it has ended. Clients of others have their name for an id.
func (b *books) server(event string) {
	if event == "" {
		return
	}
	begins, name := event[0] == '+', event[1:]
	b.mu.Lock()
	defer b.mu.Unlock()
	id, err := strconv.ParseUint(name, 16, 64)
	if err != nil || len(name) != 16 {
		if begins {
			b.foreign[name]++
		}
		return
	}
	if e := b.entry(id); begins {
		e.runs++
	} else {
		e.done++
	}
}

// balance is taken when all clients and replicas have ended.
func (b *books) balance() (s balance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.requests {
		if e.sent {
			s.sent++
		}
		switch {
		case e.answered && e.runs == 0, !e.sent:
			s.orphans++
		case e.answered:
			s.answered++
		case e.runs == 0:
			s.neverRan++
		case e.done > 0:
			s.void++
		}
		if e.runs > 1 {
			s.twice++
		}
	}
	return s
}

// between counts the losses of a time.
func (b *books) between(begin, end time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.losses {
		if !l.at.Before(begin) && l.at.Before(end) {
			n++
		}
	}
	return n
}

// firstLosses returns the first losses of each kind, so many at most.
func (b *books) firstLosses(perKind int) (first []loss) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[string]int)
	for _, l := range b.losses {
		if seen[l.kind]++; seen[l.kind] <= perKind {
			first = append(first, l)
		}
	}
	return first
}
