// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
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
	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/internal/stall"
)

const (
	// serverEnv makes the test binary a server that leaves by a mode.
	serverEnv = "LAMEDUCK_TEST_SERVER"
	// protoEnv says what it speaks: "h2", "h2c" beside HTTP/1.1, or by default
	// HTTP/1.1 alone.
	protoEnv = "LAMEDUCK_TEST_PROTO"
	// floorEnv is the baselines' sleep and our floor, if not lossesFloor.
	floorEnv = "LAMEDUCK_TEST_FLOOR"
	// terminationsEnv asks for the whole table of losses, with as many
	// terminations of a drain.Server in each cell; CI does the default.
	terminationsEnv = "LAMEDUCK_TERMINATIONS"

	fewTerminations      = 2
	baselineTerminations = 10 // at most: more would only say again that it loses

	// rollGap keeps rolls side by side out of step: starting processes and ending
	// them is what takes most, and clients that get no time lose requests.
	rollGap = 700 * time.Millisecond

	clockLate = 200 * time.Millisecond

	lossesFloor = 5 * time.Second
	// lossesGrace is the 30 s that Kubernetes gives, less a reserve.
	lossesGrace = 25 * time.Second
)

// Modes are ways to leave at SIGTERM. All but the drain are baselines.
const (
	modeDrain        = "drain"
	modeShutdown     = "shutdown"
	modeSleep        = "sleep"
	modeKeepAliveOff = "keepalives off"
	modeCloseHeader  = "close header"
)

var modes = []string{modeDrain, modeShutdown, modeSleep, modeKeepAliveOff}

// A lossLoad is a load under which servers are terminated. The kinds differ in
// how they lose: busy connections meet a close while a request is under way, idle
// ones when a request is on its way.
type lossLoad struct {
	kind   draintest.Kind
	beside int // how many rolls run side by side without keeping two cores too busy
	floor  time.Duration
}

var (
	busy       = lossLoad{draintest.Kind{Name: "busy", Clients: 50}, 3, lossesFloor}
	mixed      = lossLoad{draintest.Kind{Name: "mixed", Clients: 300, MaxThink: 100 * time.Millisecond}, 3, lossesFloor}
	mostlyIdle = lossLoad{draintest.Kind{Name: "mostly idle", Clients: 400, MaxThink: 3 * time.Second}, 8, lossesFloor}

	// dialers are in every load: they are who is refused.
	dialers = draintest.Kind{Name: "new connection", Clients: 5, NewConn: true, MinThink: 10 * time.Millisecond, MaxThink: 30 * time.Millisecond}
)

// A cell is a row of the table: its rolls, added.
type cell struct {
	load        lossLoad
	propagation time.Duration
	mode        string

	mu     sync.Mutex
	report draintest.Report // guarded by mu while rolls run
}

// TestLosses terminates servers in processes of their own under clients that
// never retry, and prints what was lost by each way to leave.
func TestLosses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	require.Empty(t, os.Getenv(serverEnv), "TestMain does not call serveMode: the servers would be tests that start servers")
	if s := os.Getenv(terminationsEnv); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, terminationsEnv)
		require.Positive(t, n, terminationsEnv)
		// One load after the other: each is all that two cores can bear.
		for _, load := range []lossLoad{busy, mixed, mostlyIdle} {
			t.Run(load.kind.Name, func(t *testing.T) {
				stop := stall.Watch()
				cells := newCells(load, modes, 1500*time.Millisecond, 7*time.Second)
				terminate(t, load, cells, n, load.beside)
				checkLosses(t, cells, stop())
			})
		}
		return
	}
	stop := stall.Watch()
	var cells []*cell
	var group sync.WaitGroup
	for _, load := range []lossLoad{busy, mostlyIdle} {
		if raced() {
			load.kind.Name += ", a quarter"
			load.kind.Clients /= 4
		}
		these := newCells(load, modes, 1500*time.Millisecond)
		group.Go(func() { terminateFew(t, load, these) })
		cells = append(cells, these...)
	}
	group.Wait()
	checkLosses(t, cells, stop())
}

// raced reports whether the race detector is in. It has 256 slots for goroutines;
// where more of them run, it holds the process up again and again, for so long
// that dials time out.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func newCells(load lossLoad, modes []string, propagations ...time.Duration) []*cell {
	var cells []*cell
	for _, p := range propagations {
		for _, m := range modes {
			cells = append(cells, &cell{load: load, propagation: p, mode: m})
		}
	}
	return cells
}

// terminate terminates n servers in each cell of a load, or as many of a baseline
// as it takes to see its losses, by at most parts rolls for each cell.
func terminate(t *testing.T, load lossLoad, cells []*cell, n, parts int) {
	var group errgroup.Group
	group.SetLimit(load.beside)
	for _, c := range cells {
		terminations := n
		if c.mode != modeDrain {
			terminations = min(n, baselineTerminations)
		}
		for _, share := range shares(terminations, parts) {
			group.Go(func() error { c.roll(t, share); return nil })
			time.Sleep(rollGap)
		}
	}
	group.Wait()
}

// terminateFew terminates few servers in each cell of a load, and once more as
// many where a baseline has lost nothing. Each time one roll does for a cell: a
// roll ends with a server that leaves and is not counted.
func terminateFew(t *testing.T, load lossLoad, cells []*cell) {
	terminate(t, load, cells, fewTerminations, 1)
	again := slices.DeleteFunc(slices.Clone(cells), func(c *cell) bool {
		return c.mode == modeDrain || c.report.Lost() > 0
	})
	terminate(t, load, again, fewTerminations, 1)
}

// shares splits n evenly into at most parts shares.
func shares(n, parts int) []int {
	parts = min(n, parts)
	s := make([]int, parts)
	for i := range n {
		s[i%parts]++
	}
	return s
}

// roll rolls a pair of servers under clients of its own. A roll that fails does
// not end the others: what they count is worth as much.
func (c *cell) roll(t *testing.T, terminations int) {
	var output bytes.Buffer
	report, err := draintest.Roll(t.Context(), draintest.Config{
		Command: os.Args[:1],
		// The race detector's own sleep at the exit, a second, is not ours.
		Env: []string{serverEnv + "=" + c.mode, protoEnv + "=" + c.load.kind.Proto, floorEnv + "=" + c.load.floor.String(),
			"GORACE=atexit_sleep_ms=0"},
		Output:       &output,
		Terminations: terminations,
		Propagation:  c.propagation,
		Kinds:        []draintest.Kind{c.load.kind, c.load.dialers()},
	})
	assert.NoError(t, err, c)
	if c.mode == modeDrain && report.Lost() > 0 {
		t.Logf("%v:\n%s%s", c, report, &output)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Add(report)
}

// dialers returns those who are refused, beside a load.
func (l lossLoad) dialers() draintest.Kind {
	k := dialers
	k.Proto = l.kind.Proto
	return k
}

func (c *cell) String() string {
	return fmt.Sprintf("%s, propagation %v, %s", c.load.kind.Name, c.propagation, c.mode)
}

func lossTable(cells []*cell) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "load\tpropagation\tstrategy\tterminations\tsent\tlost\trefused\treset\tclosed\tother\tlost each\texit median\texit worst\t")
	for _, c := range cells {
		k, n := c.report.Total(), len(c.report.Exits)
		median, worst := c.report.Exit()
		fmt.Fprintf(w, "%s\t%v\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t%.2f s\t%.2f s\t\n",
			c.load.kind.Name, c.propagation, c.mode, n, k.Sent, k.Lost(), k.Refused, k.Reset, k.Closed,
			k.Timeout+k.Status+k.Truncated+k.GoAway+k.Other, float64(k.Lost())/float64(max(n, 1)), median.Seconds(), worst.Seconds())
	}
	w.Flush()
	return b.String()
}

// checkLosses prints the table, and checks the drain's cells against the baselines'.
func checkLosses(t *testing.T, cells []*cell, late time.Duration) {
	t.Logf("what was lost:\n%s", lossTable(cells))
	t.Logf("this process was kept from running for %v at the longest", late.Round(time.Millisecond))
	for _, c := range cells {
		switch {
		case c.mode == modeDrain:
			c.check(t, cells, late)
		case c.report.Lost() == 0:
			t.Logf("%v: lost nothing in %d terminations", c, len(c.report.Exits))
		}
	}
}

// check checks that c loses nothing where others lose, because a zero means
// nothing otherwise, and that it is gone within a second of its floor, and of one more
// quiet period, when propagation is shorter. Sleeping for as long shows what the machine takes on top:
// on a busy one it is part of a second until a process has ended. Where processes did
// not run for longer than that the time of the exit says nothing; what is lost does.
func (c *cell) check(t *testing.T, all []*cell, late time.Duration) {
	lost, limit := 0, c.load.floor
	for _, o := range all {
		if o == c || o.load.kind.Name != c.load.kind.Name || o.propagation != c.propagation {
			continue
		}
		lost += o.report.Lost()
		if median, _ := o.report.Exit(); o.mode == modeSleep {
			limit = max(limit, median)
		}
	}
	assert.Zero(t, c.report.Lost(), c)
	assert.NotZero(t, lost, "%v: no baseline loses anything, so this test tests nothing", c)
	if late > clockLate {
		t.Logf("%v: the time to the exit is not judged", c)
		return
	}
	if c.load.kind.Proto != "" && raced() {
		return // it takes the race detector seconds to shake so many hands
	}
	if _, worst := c.report.Exit(); c.propagation < c.load.floor {
		limit += time.Second
		if c.load.kind.Proto != "" {
			limit += 1500 * time.Millisecond // the newcomers are told, and then by net/http, which waits for a second
		}
		limit += max(drain.DefaultQuiet, c.load.floor/5*2) // a server that was late is quiet from then on
		assert.LessOrEqual(t, worst, limit, c)
	}
}

// serveMode serves $PORT, and a readiness probe on $PROBE_PORT, until SIGTERM,
// and leaves as mode says.
func serveMode(mode string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	go http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	proto := os.Getenv(protoEnv)
	srv := &http.Server{Protocols: protocols(proto), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mode == modeCloseHeader && ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		io.Copy(io.Discard, r.Body)
		time.Sleep(3 * time.Millisecond)
		io.WriteString(w, "ok")
	})}
	if proto == "h2" {
		cert, err := newCertificate()
		if err != nil {
			log.Fatal(err)
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	floor, err := time.ParseDuration(os.Getenv(floorEnv))
	if err != nil {
		log.Fatal(err)
	}
	if mode == modeDrain {
		err = serveDrained(ctx, srv, l, floor)
	} else {
		err = serveBaseline(ctx, srv, l, mode, floor)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func protocols(proto string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(proto == "h2")
	p.SetUnencryptedHTTP2(proto == "h2c")
	return p
}

func serveDrained(ctx context.Context, srv *http.Server, l net.Listener, floor time.Duration) error {
	s := &drain.Server{HTTP: srv, Floor: floor}
	if srv.TLSConfig != nil {
		go s.ServeTLS(l, "", "")
	} else {
		go s.Serve(l)
	}
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.Background(), lossesGrace)
	defer cancel()
	report, err := s.Drain(limit)
	fmt.Fprintf(os.Stderr, "drained: %+v\n", report)
	return err
}

// serveBaseline leaves as services do that have no library for it.
func serveBaseline(ctx context.Context, srv *http.Server, l net.Listener, mode string, floor time.Duration) error {
	if srv.TLSConfig != nil {
		go srv.ServeTLS(l, "", "")
	} else {
		go srv.Serve(l)
	}
	<-ctx.Done()
	switch mode {
	case modeShutdown:
	case modeKeepAliveOff:
		srv.SetKeepAlivesEnabled(false)
		time.Sleep(floor)
	case modeSleep, modeCloseHeader:
		time.Sleep(floor)
	default:
		return fmt.Errorf("no such mode: %q", mode)
	}
	return srv.Shutdown(context.Background())
}
