// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/internal/load"
	"github.com/lameduck-go/lameduck/internal/netlab"
	"github.com/lameduck-go/lameduck/internal/stall"
)

const (
	// mutantEnv makes the test binary a server, the mutant that its value describes.
	mutantEnv = "LAMEDUCK_TEST_MUTANT"

	// A request is lost by a close that it crosses, so the time for that is the
	// round trip: the longer, the fewer clients it takes. Dials take more than
	// one, and must be over while the accept queue is emptied, in 100 ms.
	near = 10 * time.Millisecond // one way
	far  = 40 * time.Millisecond

	mutantWork   = 3 * time.Millisecond // what each request takes
	mutantSettle = time.Second          // from the first request of all clients to T0
	mutantsAside = 4                    // how many servers run side by side

	// This process is the network too. A run in which it was kept from running for
	// longer than lateness had other delays than it says: one that comes out wrong
	// then is repeated, mutantRuns times at most in all.
	lateness   = 2 * near
	mutantRuns = 5

	largeAnswer = 2 << 20
	slowRead    = 5 * time.Millisecond // before each read of up to 8 KiB of it
)

// A mutant is a server with or without one of its mechanisms.
type mutant struct {
	Floor, Quiet, Cap, Linger time.Duration
	Within                    time.Duration // what Drain is given; zero: 10 s
	Off                       string        // what SwitchOff switches off, if anything
}

// A scenario is a kind of clients that needs a mechanism.
type scenario struct {
	name        string
	oneWay      time.Duration
	clients     int
	kind        load.Kind
	wrap        func(net.Conn) net.Conn // what else a client does with its connection
	propagation time.Duration           // each learns of T0 after a random part of it, and dials no more

	// dialAfterT0: nobody learns of T0. A dial that does not connect is the end of
	// its client and no loss; a connection that was established and is reset is one.
	dialAfterT0 bool
}

// A mutation is a row of the table.
type mutation struct {
	mechanism     string
	scenario      scenario
	whole         mutant
	off           func(*mutant) // switches the mechanism off; nil: SwitchOff does
	with, without mutantResult
}

type mutantResult struct {
	sent, lost int
	first      load.Result // of those that are lost
	output     string      // of the server
}

var (
	busyKept = scenario{name: "busy, kept connections", oneWay: far, clients: 20,
		propagation: 500 * time.Millisecond}
	propagating = scenario{name: "new connections, T0 known within 2 s", oneWay: near, clients: 15,
		kind: load.Kind{NewConn: true, MinThink: 10 * time.Millisecond, MaxThink: 50 * time.Millisecond}, propagation: 2 * time.Second}
	dialling = scenario{name: "new connections, T0 not known", oneWay: near, clients: 40,
		kind: load.Kind{NewConn: true, MaxThink: 40 * time.Millisecond}, dialAfterT0: true}
	// The pauses are shorter than what is left of the default linger, four fifths of
	// 2 s. Where a client comes back just when its time is over, its request is lost
	// by any server (RFC 9112, section 9.5).
	idling = scenario{name: "mostly idle, kept connections", oneWay: far, clients: 120,
		kind: load.Kind{MaxThink: 1200 * time.Millisecond}}
	halting = scenario{name: "requests sent in halves", oneWay: near, clients: 40,
		kind: load.Kind{MaxThink: 50 * time.Millisecond},
		wrap: func(c net.Conn) net.Conn { return &haltingConn{Conn: c} }}
	pipelining = scenario{name: "slow readers that pipeline", oneWay: near, clients: 5,
		kind: load.Kind{Method: http.MethodGet, MaxThink: 100 * time.Millisecond},
		wrap: func(c net.Conn) net.Conn { return &pipeliningConn{Conn: c} }}
	streaming = scenario{name: "streams of HTTP/2", oneWay: far, clients: 5,
		kind: load.Kind{Proto: "h2c", Streams: 10, Streaming: true, MaxThink: 40 * time.Millisecond}, propagation: 500 * time.Millisecond}
)

func newMutations() []*mutation {
	const short = 200 * time.Millisecond
	return []*mutation{
		{mechanism: "close header", scenario: busyKept, whole: mutant{Floor: time.Second, Within: 5 * time.Second}},
		{mechanism: "idle grace", scenario: idling, whole: mutant{Floor: short, Quiet: -1},
			off: func(m *mutant) { m.Linger = -1 }},
		{mechanism: "quiet period", scenario: propagating, whole: mutant{Floor: 500 * time.Millisecond},
			off: func(m *mutant) { m.Quiet = -1 }},
		{mechanism: "accept queue", scenario: dialling, whole: mutant{Floor: short, Cap: short}},
		{mechanism: "SYN filter", scenario: dialling, whole: mutant{Floor: short, Cap: short}},
		{mechanism: "linger", scenario: idling, whole: mutant{Floor: short, Quiet: -1}},
		{mechanism: "byte check", scenario: halting, whole: mutant{Floor: 300 * time.Millisecond, Quiet: -1, Linger: 300 * time.Millisecond}},
		{mechanism: "staged close", scenario: pipelining, whole: mutant{Floor: short, Quiet: -1}},
		{mechanism: "two steps", scenario: streaming, whole: mutant{Floor: time.Second, Within: 5 * time.Second}},
	}
}

// TestMutations shows that each mechanism of a drain is needed: there are clients,
// none of which ever sends a request again, to whom the whole server loses nothing
// and the server without the mechanism does.
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	labs := make(map[time.Duration]*netlab.Lab)
	for _, oneWay := range []time.Duration{near, far} {
		labs[oneWay] = netlab.New(t, oneWay, "client", "server")
	}
	mutations := newMutations()
	var group errgroup.Group
	group.SetLimit(mutantsAside)
	if raced() {
		group.SetLimit(mutantsAside / 2)
	}
	for _, m := range mutations { // in this order the two with most clients are not side by side
		group.Go(func() error { m.with = m.run(t, labs, m.whole, false); return nil })
	}
	for _, m := range mutations {
		group.Go(func() error { m.without = m.run(t, labs, m.switchedOff(), true); return nil })
	}
	group.Wait()
	t.Logf("what each mechanism is for:\n%s", mutationTable(mutations))
	for _, m := range mutations {
		assert.Zero(t, m.with.lost, "the whole server, %s: %v\n%s", m.scenario.name, m.with.first.Err, m.with.output)
		assert.NotZero(t, m.without.lost, "%s is not needed", m.mechanism)
	}
}

// run runs a server until the outcome is as it should be, or the machine is not to
// blame that it is not.
func (m *mutation) run(t *testing.T, labs map[time.Duration]*netlab.Lab, server mutant, loses bool) mutantResult {
	for left := mutantRuns - 1; ; left-- {
		r := &mutantRun{scenario: m.scenario, lab: labs[m.scenario.oneWay], server: server}
		stop := stall.Watch()
		err := r.run(t.Context())
		late := stop()
		asExpected := err == nil && (r.result.lost > 0) == loses
		if asExpected || late <= lateness || left == 0 {
			assert.NoError(t, err, "%s, %+v", m.mechanism, server)
			return r.result
		}
		t.Logf("%s, %+v: once more, because this process was kept from running for %v: lost %d of %d, first %v, error %v",
			m.mechanism, server, late.Round(time.Millisecond), r.result.lost, r.result.sent, r.result.first.Err, err)
	}
}

func (m *mutation) switchedOff() mutant {
	without := m.whole
	if m.off == nil {
		without.Off = m.mechanism
	} else {
		m.off(&without)
	}
	return without
}

func mutationTable(mutations []*mutation) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "mechanism\tscenario\tone way\twith it: sent\tlost\twithout: sent\tlost\tfirst one is")
	for _, m := range mutations {
		fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%d\t%d\t%d\t%v\n", m.mechanism, m.scenario.name, m.scenario.oneWay,
			m.with.sent, m.with.lost, m.without.sent, m.without.lost, m.without.first.Cause)
	}
	w.Flush()
	return b.String()
}
