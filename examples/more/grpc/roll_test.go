// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/credentials"
)

const (
	propagation = 2 * time.Second // until the last client knows of a removal
	settle      = time.Second     // under load, before one of two servers is told to leave
	eachKind    = 2               // clients
)

// A result is what came of a roll.
type result struct {
	counts []count // by kind
	exits  []time.Duration
	codes  []int
	calls  int // that have run
	twice  int // of these, more than once
}

func (r *result) total() (sum count) {
	for _, c := range r.counts {
		sum.add(c)
	}
	return sum
}

func (r *result) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsent\tlost\tunavailable\tsent again\tdials\t")
	row := func(name string, c count) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t\n", name, c.sent, c.lost, c.unavailable, c.again, c.dials)
	}
	for i, k := range kinds {
		row(k.name, r.counts[i])
	}
	row("total", r.total())
	w.Flush()
	exits := slices.Sorted(slices.Values(r.exits))
	fmt.Fprintf(&b, "%d terminations, to the exit %.2f s median, %.2f s worst; %d calls have run, %d of them twice; statuses %v\n",
		len(exits), exits[len(exits)/2].Seconds(), exits[len(exits)-1].Seconds(), r.calls, r.twice, r.codes)
	for i, c := range r.counts {
		if c.first != nil {
			fmt.Fprintf(&b, "first loss, %s: %v\n", kinds[i].name, c.first)
		}
	}
	return b.String()
}

// terminations returns how many there are to be.
func terminations(t *testing.T, def int) int {
	s := os.Getenv("LAMEDUCK_TERMINATIONS")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// roll replaces a server n times under load. One that has not left after patience is
// killed, as it would be at the end of its grace period.
func roll(t *testing.T, s strategy, secure bool, n int, patience time.Duration) *result {
	t.Helper()
	calls := filepath.Join(t.TempDir(), "calls")
	env := []string{callsEnv + "=" + calls, "SHUTDOWN_DELAY=" + propagation.String(), "GRACE_PERIOD=20s"}
	var creds credentials.TransportCredentials
	if secure {
		env = append(env, certificate(t)...)
		creds = credentials.NewTLS(clientTLS)
	}
	var routes routes
	old := s.start(t, env...)
	routes.add(old.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	clients := make([][]*client, len(kinds))
	for i, k := range kinds {
		for range eachKind {
			c := &client{kind: k, view: routes.join(), creds: creds}
			clients[i] = append(clients[i], c)
			load.Go(func() { c.run(ctx) })
		}
	}
	var r result
	for range n {
		next := s.start(t, env...)
		routes.add(next.Addr)
		time.Sleep(settle)
		t0 := time.Now()
		routes.remove(old.Addr, propagation)
		code, took := old.End(syscall.SIGTERM, patience)
		r.exits, r.codes = append(r.exits, took), append(r.codes, code)
		if code != 0 && s == lameduck {
			t.Log(old.Output())
		}
		old = next
		time.Sleep(time.Until(t0.Add(propagation)))
	}
	cancel()
	load.Wait()
	for _, cs := range clients {
		var sum count
		for _, c := range cs {
			sum.add(c.count)
		}
		r.counts = append(r.counts, sum)
	}
	old.Kill()
	r.calls, r.twice = ran(t, calls)
	return &r
}

// TestRoll is the promise: clients that never retry, whose new connections go elsewhere
// within propagation, lose nothing. The usual ways stand beside it, 20 terminations of
// each at most.
//
//	LAMEDUCK_TERMINATIONS=100 go test -count=1 -timeout 60m -run TestRoll -v ./grpc
func TestRoll(t *testing.T) {
	for _, secure := range []bool{false, true} {
		name := map[bool]string{false: "plaintext", true: "TLS"}[secure]
		t.Run(name+", lameduck", func(t *testing.T) {
			n := terminations(t, 2)
			r := roll(t, lameduck, secure, n, 20*time.Second)
			t.Logf("%s, lameduck\n%v", name, r)
			total := r.total()
			assert.Zero(t, total.lost)
			assert.Zero(t, r.twice)
			assert.InDelta(t, total.sent, r.calls, eachKind, "what was sent has run, but for streams that were just beginning")
			assert.Equal(t, make([]int, n), r.codes)
		})
		for _, s := range []strategy{gracefulStop, sleepShort, sleepLong} {
			t.Run(name+", "+string(s), func(t *testing.T) {
				if s == sleepLong && os.Getenv("LAMEDUCK_TERMINATIONS") == "" {
					t.Skip("for the long table")
				}
				r := roll(t, s, secure, min(terminations(t, 1), 20), 5*time.Second)
				t.Logf("%s, %s; killed after 5 s\n%v", name, s, r)
				assert.NotZero(t, r.total().lost, "the baseline loses nothing, so this test tests nothing")
			})
		}
	}
}
