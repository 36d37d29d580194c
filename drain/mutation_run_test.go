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
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/load"
	"github.com/lameduck-go/lameduck/internal/netlab"
)

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
