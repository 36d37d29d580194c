// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/load"
	"github.com/lameduck-go/lameduck/internal/netlab"
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
		stop := watchClock()
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

// A mutantRun is one server under its clients, from its start to its end.
type mutantRun struct {
	scenario scenario
	lab      *netlab.Lab
	server   mutant
	addr     string
	t0       atomic.Pointer[time.Time] // nil: not yet

	mu     sync.Mutex
	result mutantResult // guarded by mu while clients run
}

var errElsewhere = errors.New("the client has gone elsewhere")

func (r *mutantRun) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()

	spec, err := json.Marshal(r.server)
	if err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^$") // no test if TestMain does not call serveMutant
	cmd.Env = append(os.Environ(), mutantEnv+"="+string(spec), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = &output
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := r.lab.Start("server", cmd); err != nil {
		return err
	}
	var port int
	if _, err := fmt.Fscanln(stdout, &port); err != nil {
		return errors.Join(fmt.Errorf("the server has printed no port: %w", err), cmd.Wait())
	}
	r.addr = net.JoinHostPort(r.lab.Addr("server"), fmt.Sprint(port))

	for range r.scenario.clients {
		clients.Go(func() {
			if err := r.lab.Do("client", func() error { r.client(ctx); return nil }); err != nil {
				panic(err) // a loss of clients must not pass for one without losses
			}
		})
	}
	time.Sleep(mutantSettle)
	now := time.Now()
	r.t0.Store(&now)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err = cmd.Wait()
	clients.Wait() // each finds that there is no server any more
	if err != nil {
		return fmt.Errorf("%w\n%s", err, &output)
	}
	r.result.output = output.String()
	return nil
}

// client is one client, until it goes elsewhere. It is inside the host for all its
// life, because every call of Do makes a thread and ends it.
func (r *mutantRun) client(ctx context.Context) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	knows := rand.N(r.scenario.propagation + 1)
	c := &load.Client{
		Kind:   r.scenario.kind,
		Path:   "/",
		Spread: min(max(r.scenario.kind.MaxThink, 20*time.Millisecond), mutantSettle),
		Dial: func(ctx context.Context) (net.Conn, error) {
			if t0 := r.t0.Load(); t0 != nil && time.Since(*t0) >= knows && !r.scenario.dialAfterT0 {
				return nil, errElsewhere
			}
			return r.dial(ctx)
		},
	}
	c.Record = func(res load.Result) {
		connected := res.Local != ""
		if errors.Is(res.Err, errElsewhere) || !connected && r.scenario.dialAfterT0 && r.t0.Load() != nil {
			leave()
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.result.sent++
		if res.Cause != load.OK {
			if r.result.lost == 0 {
				r.result.first = res
			}
			r.result.lost++
		}
	}
	c.Run(ctx)
}

func (r *mutantRun) dial(ctx context.Context) (c net.Conn, err error) {
	dial := func() error {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		return nil
	}
	if r.scenario.kind.Streams == 0 {
		dial()
	} else { // each stream has a goroutine of its own, which is not inside the host
		lost := r.lab.Do("client", dial)
		err = errors.Join(err, lost)
	}
	if err == nil && r.scenario.wrap != nil {
		c = r.scenario.wrap(c)
	}
	return c, err
}

// A haltingConn sends each request but the first in two halves, with a pause.
type haltingConn struct {
	net.Conn
	later bool
}

func (c *haltingConn) NetConn() net.Conn { return c.Conn }

func (c *haltingConn) Write(p []byte) (int, error) {
	if !c.later {
		c.later = true
		return c.Conn.Write(p)
	}
	const half = 20 // bytes: inside the header
	n, err := c.Conn.Write(p[:half])
	if err != nil {
		return n, err
	}
	time.Sleep(500*time.Millisecond + rand.N(1500*time.Millisecond))
	n, err = c.Conn.Write(p[half:])
	return half + n, err
}

// A pipeliningConn sends one more request when the last answer begins, having not
// yet seen that it is the last, and reads the rest of the answer slowly.
type pipeliningConn struct {
	net.Conn
	last bool
}

func (c *pipeliningConn) NetConn() net.Conn { return c.Conn }

func (c *pipeliningConn) Read(p []byte) (int, error) {
	if c.last {
		time.Sleep(slowRead)
	}
	n, err := c.Conn.Read(p)
	if !c.last && bytes.Contains(p[:n], []byte("Connection: close")) {
		c.last = true
		body := strings.Repeat("x", 1000)
		fmt.Fprintf(c.Conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	return n, err
}

// serveMutant is the process of a mutant: it prints its port, serves until SIGTERM
// and drains.
func serveMutant(spec string) {
	var m mutant
	err := json.Unmarshal([]byte(spec), &m)
	if err == nil {
		err = m.serve()
	}
	if err != nil {
		log.Fatal(err)
	}
}

func (m mutant) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := drain.Listen(ctx, "tcp4", ":0")
	if err != nil {
		return err
	}
	s := &drain.Server{Floor: m.Floor, Quiet: m.Quiet, Cap: m.Cap, Linger: m.Linger, HTTP: &http.Server{
		Protocols: protocols("h2c"),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(mutantWork)
			if r.Method == http.MethodGet && ctx.Err() != nil {
				w.Header().Set("Content-Length", fmt.Sprint(largeAnswer))
				w.Write(make([]byte, largeAnswer))
				return
			}
			io.WriteString(w, "ok")
		}),
	}}
	if m.Off != "" {
		s.SwitchOff(m.Off)
	}
	go s.Serve(l)
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.Background(), cmp.Or(m.Within, 10*time.Second))
	defer cancel()
	report, err := s.Drain(limit)
	fmt.Fprintf(os.Stderr, "drained: %+v\n", report)
	return err
}
