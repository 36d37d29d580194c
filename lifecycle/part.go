// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A part is a component in a running process.
type part struct {
	Component
	dependencies []*part
	dependants   []*part
	height       int // the longest chain of dependencies below it
	serversBelow int // the most servers in such a chain

	// The channels are closed by the process, each once, in this order. A
	// channel's close publishes the fields that are named beside it.
	startDone chan struct{} // startErr: nil if the part has to be stopped; startFailed
	runDone   chan struct{} // runErr
	drainDone chan struct{} // it takes no more traffic; closed before or after runDone
	stopDone  chan struct{} // it has stopped, or was left behind

	startErr    error
	startFailed bool // its dependants must not start
	runErr      error

	runCtx    context.Context
	cancelRun context.CancelFunc

	windowDone  chan struct{} // of a server: it accepts no more connections
	closeWindow func()        // idempotent

	mu     sync.Mutex // guards what follows
	op     string     // what it is doing
	report ComponentReport
}

var errNotStarted = errors.New("not started, or failed to start")

func newPart(c Component, height int) *part {
	p := &part{
		Component: c,
		height:    height,
		startDone: make(chan struct{}),
		runDone:   make(chan struct{}),
		drainDone: make(chan struct{}),
		stopDone:  make(chan struct{}),
		report:    ComponentReport{Name: c.Name},
	}
	if c.Server != nil {
		p.windowDone = make(chan struct{})
		p.closeWindow = sync.OnceFunc(func() { close(p.windowDone) })
		p.serve(c.Server.HTTP)
	}
	return p
}

// serve gives the part the start and run functions of a server. TLS is decided
// here, because net/http sets TLSConfig itself later.
func (p *part) serve(h *http.Server) {
	secure := h.TLSConfig != nil
	var l net.Listener
	p.Start = func(ctx context.Context) (err error) {
		if p.Listen != nil {
			if l, err = p.Listen(ctx); err == nil && l == nil {
				err = errors.New("Listen has returned no listener")
			}
			return err
		}
		addr := h.Addr
		if addr == "" {
			addr = ":http"
			if secure {
				addr = ":https"
			}
		}
		l, err = drain.Listen(ctx, "tcp", addr)
		return err
	}
	p.Run = func(context.Context) error {
		err := p.Server.Serve
		if secure {
			err = func(l net.Listener) error { return p.Server.ServeTLS(l, "", "") }
		}
		if err := err(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// spawn calls f in a goroutine of its own, labelled with the component's name so
// that its stack can be found, and so can those of all the goroutines that it
// starts. What f returns is sent on the channel.
func (p *part) spawn(ctx context.Context, op string, f func(context.Context) error) <-chan error {
	p.set(op)
	done := make(chan error, 1)
	go pprof.Do(ctx, pprof.Labels(stackLabel, p.Name), func(ctx context.Context) {
		protect(done, func() error {
			if f == nil {
				return nil
			}
			return f(ctx)
		})
	})
	return done
}

// fail wraps err with the part's name, unless it is nil.
func (p *part) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Component: p.Name, Op: op, Err: err}
}

func (p *part) set(op string) {
	p.mu.Lock()
	p.op = op
	p.mu.Unlock()
}

// doing returns what the part is doing, or "" when it is over or never began.
func (p *part) doing() string {
	select {
	case <-p.stopDone:
		return ""
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.op
}

// await returns what comes on done, or ErrDeadline at the deadline.
func await(done <-chan error, deadline time.Time) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	}
	select {
	case err := <-done: // both: the result is worth more
		return err
	default:
		return ErrDeadline
	}
}
