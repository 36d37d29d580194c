// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A part is a component in a running process.
type part struct {
	Component
	dependencies []*part
	dependants   []*part
	height       int // the longest chain of dependencies below it
	drainsBelow  int // the most parts in such a chain that have to be drained
	labels       pprof.LabelSet
	listensOn    string // the address of a server's listener; set by its start, empty if Listen opens it

	// The channels are closed by the process, each once, in this order. A
	// channel's close publishes the fields that are named beside it.
	startDone chan struct{} // startErr: nil if the part has to be stopped
	runDone   chan struct{} // runErr; closed from the beginning if there is no Run
	drainDone chan struct{} // it takes no more traffic; made by drain, closed before or after runDone

	fate     atomic.Int32                // of its start
	toStart  atomic.Int32                // how many of its dependencies have not started yet
	toStop   atomic.Int32                // how many of its dependants have not stopped yet
	undo     func(context.Context) error // undoes a start that comes too late
	startErr error
	runErr   error

	runCtx    context.Context
	cancelRun context.CancelFunc

	draining    atomic.Bool   // of a server: its Drain is about to be called
	windowDone  chan struct{} // of a server: it accepts no more connections
	closeWindow func()        // idempotent
	lateDrain   func()        // takes what a drain that was left behind has come to say; nil if none was

	mu     sync.Mutex // guards what follows
	op     string     // what it is doing, "" when it is over or never began
	report ComponentReport
	late   *profile  // has its stacks, if they were not known when it was left behind
	begin  time.Time // of its start, unless that is over or named by the probes
	named  func()    // ends that the probes name its start; nil if they do not
}

// The fates of a start.
const (
	waiting    = iota // for what the part depends on
	starting          // its start has been called
	hasStarted        // it is stopped in its turn
	abandoned         // it is not called any more, or what it returns changes nothing
)

// closed is a channel that is.
var closed = make(chan struct{})

func init() { close(closed) }

var (
	errNotStarted    = errors.New("not started, or failed to start")
	errNoCertificate = errors.New("its TLSConfig has no certificate; one is set by http2.ConfigureServer, too, and by net/http when a server serves, which it does once")
	errEndedOutside  = errors.New("its server was ended by a Shutdown or Close that is not the App's, or had been before")
)

func newPart(c Component, app string) *part {
	p := &part{
		Component: c,
		labels:    pprof.Labels(stackLabel, c.Name, appLabel, app),
		startErr:  errNotStarted,
		startDone: make(chan struct{}),
		runDone:   closed,
		undo:      func(context.Context) error { return nil },

		closeWindow: func() {},
		report:      ComponentReport{Name: c.Name},
	}
	if c.Server != nil {
		p.windowDone = make(chan struct{})
		p.closeWindow = sync.OnceFunc(func() { close(p.windowDone) })
		p.serve(c.Server.HTTP)
	}
	if p.Run != nil {
		p.runDone = make(chan struct{})
	}
	return p
}

// serve gives the part the start and run functions of a server, of gRPC if h is nil.
// TLS is decided here, because net/http sets TLSConfig itself later.
func (p *part) serve(h *http.Server) {
	secure := h != nil && h.TLSConfig != nil
	var l net.Listener
	p.Start = func(ctx context.Context) error {
		addr := p.address()
		if addr == "" {
			addr = ":http"
			if secure {
				addr = ":https"
			}
		}
		var err error
		if l, err = drain.Listen(ctx, "tcp", addr); err == nil {
			p.listensOn = l.Addr().String()
		}
		return err
	}
	if p.Listen != nil {
		p.Start = func(ctx context.Context) (err error) {
			if l, err = p.Listen(ctx); err == nil && l == nil {
				err = errors.New("it has no listener: Listen has returned nil")
			}
			return err
		}
	}
	if secure && len(h.TLSConfig.Certificates) == 0 && h.TLSConfig.GetCertificate == nil && h.TLSConfig.GetConfigForClient == nil {
		p.Start = func(context.Context) error { return errNoCertificate }
	}
	p.undo = func(context.Context) error { return l.Close() }
	p.Run = func(context.Context) error {
		if h != nil {
			h.BaseContext = p.labelled(h.BaseContext)
		}
		err := p.Server.Serve
		if secure {
			err = func(l net.Listener) error { return p.Server.ServeTLS(l, "", "") }
		}
		switch err := err(l); {
		case !errors.Is(err, http.ErrServerClosed):
			return err
		case h != nil && !p.draining.Load():
			return errEndedOutside
		}
		return nil
	}
}

// labelled returns a BaseContext that carries the part's labels, so that a handler
// which sets labels of its own by the context of its request keeps them.
func (p *part) labelled(base func(net.Listener) context.Context) func(net.Listener) context.Context {
	return func(l net.Listener) context.Context {
		ctx := context.Background()
		if base != nil {
			ctx = base(l)
		}
		if ctx == nil {
			return nil // which net/http refuses
		}
		return pprof.WithLabels(ctx, p.labels)
	}
}

// do calls f and then over with its error. f is labelled with the component's name so
// that its stack can be found, and so can those of all the goroutines that it starts.
// Over is called even if f leaves by runtime.Goexit, see finally.
func (p *part) do(ctx context.Context, f func(context.Context) error, over func(error)) {
	if f == nil {
		over(nil)
		return
	}
	finally(func() (err error) {
		pprof.Do(ctx, p.labels, func(ctx context.Context) { err = protect(ctx, f) })
		return err
	}, over)
}

// spawn is do in a goroutine of its own, with a channel on which the error is sent.
func (p *part) spawn(ctx context.Context, op string, f func(context.Context) error) <-chan error {
	done := make(chan error, 1)
	p.set(op)
	go p.do(ctx, f, func(err error) { done <- err })
	return done
}

// drains reports whether the part has to be drained.
func (p *part) drains() bool { return p.Server != nil || p.Drain != nil }

// fail wraps err with the part's name, unless it is nil.
func (p *part) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Component: p.Name, Op: op, Err: err}
}

// overdue returns the error of what was cut or hung at its deadline. What it has said
// about that may be nil.
func (p *part) overdue(op string, said error) error {
	err := ErrDeadline
	if said != nil {
		err = fmt.Errorf("%w: %w", ErrDeadline, said)
	}
	return &Error{Component: p.Name, Op: op, Err: err, late: true}
}

func (p *part) set(op string) {
	p.mu.Lock()
	p.op = op
	p.mu.Unlock()
}

// doing returns what the part is doing.
func (p *part) doing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.op
}

// startNext returns a part that may start now that this one has, if there is one, and
// hands the others to also: one needs no goroutine but that of this part.
func (p *part) startNext(also func(*part)) (next *part) {
	for _, d := range p.dependants {
		next = oneOf(next, d, d.toStart.Add(-1), also)
	}
	return next
}

// stopNext is startNext on the way down.
func (p *part) stopNext(also func(*part)) (next *part) {
	for _, d := range p.dependencies {
		next = oneOf(next, d, d.toStop.Add(-1), also)
	}
	return next
}

func oneOf(next, p *part, waitsFor int32, also func(*part)) *part {
	switch {
	case waitsFor > 0:
		return next
	case next == nil:
		return p
	}
	also(p)
	return next
}

// checksBelow returns the names of the nearest parts below that have a readiness
// check: through those that have none.
func (p *part) checksBelow() []string {
	var names []string
	seen := make(map[*part]bool)
	var visit func(*part)
	visit = func(p *part) {
		for _, d := range p.dependencies {
			switch {
			case seen[d]:
			case d.Ready != nil:
				names = append(names, d.Name)
			default:
				visit(d)
			}
			seen[d] = true
		}
	}
	visit(p)
	return names
}
