// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// probeGoodbye is how long probes that are being answered, and checks that are
// running, may take when everything else is over.
const probeGoodbye = 20 * time.Millisecond

// openProbes runs the checks and, if there is an address for it, serves the
// probes on a listener of their own. The function that it returns ends both. The
// error is the reason for which the shutdown has to begin at once.
func (p *process) openProbes(ctx context.Context) (closeProbes func(), err error) {
	var l net.Listener
	if p.app.ProbeAddr != "" {
		if l, err = p.listenProbes(ctx, "tcp", p.app.ProbeAddr); err != nil {
			return func() {}, p.unopened(ctx, settle(ctx, err))
		}
		p.log.Info("probe listener opened", "address", l.Addr().String())
	}
	ctx = context.WithoutCancel(ctx)
	checking, cancel := context.WithCancel(ctx)
	closing := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		if err := p.probes.Run(checking); err != nil {
			p.probesFailed("run", fmt.Errorf("the registry belongs to another App, or to an earlier one: %w", err))
		}
	})
	srv := &http.Server{}
	if l != nil {
		srv = newProbeServer(p.watched(), p.log.Handler())
		group.Go(func() {
			err := protect(ctx, func(context.Context) error { return srv.Serve(l) })
			if !isClosed(closing) {
				p.probesFailed("run", err)
			}
		})
	}
	return func() {
		close(closing)
		goodbye, cancelGoodbye := context.WithTimeout(ctx, probeGoodbye)
		defer cancelGoodbye()
		if srv.Shutdown(goodbye) != nil {
			srv.Close()
		}
		cancel()
		ended := make(chan struct{})
		go func() { group.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-goodbye.Done(): // a check that ignores its context
		}
	}, nil
}

// unopened returns what becomes of a probe listener that was not opened, because of err.
func (p *process) unopened(ctx context.Context, err error) error {
	if interrupted(err) { // while it asked for the address of its name
		p.log.Warn("start interrupted", "component", probesName, "error", err)
		return context.Cause(ctx)
	}
	return p.probesFailed("start", err)
}

// probesFailed notes an error of the probe listener, and begins the shutdown: a
// process that answers no probes is about to be killed.
func (p *process) probesFailed(op string, err error) error {
	err = &Error{Component: probesName, Op: op, Err: err}
	p.log.Error("probe listener failed", "error", err)
	if op == "start" {
		err = fmt.Errorf("%w: %w", ErrStart, err)
	}
	p.fail(err)
	p.tell(Event{Instant: "ComponentFailed", Component: probesName, Err: err})
	p.app.Shutdown(err.Error())
	return err
}

// A mounter mounts a handler of all probes wherever one of them is to be.
type mounter struct {
	mux *http.ServeMux
	all http.Handler
}

func (m mounter) Handle(pattern string, _ http.Handler) { m.mux.Handle(pattern, m.all) }

// probeMux has what is served on the probe listener. It panics if the paths of the probes
// are not to be had.
func (p *process) probeMux() *http.ServeMux {
	mux := http.NewServeMux()
	h := p.probes.Handler()
	p.probes.Mount(mounter{mux, h})
	if p.app.PreStopToken != "" {
		mux.HandleFunc("/prestop", p.preStop)
	}
	if p.app.Admin != nil {
		mux.Handle("/", unhurried(p.app.Admin))
	} else {
		mux.Handle("/", h)
	}
	return mux
}

// watched returns the handler of the probe listener. Every server takes note of
// who is told what, since none of them sees these probes itself.
func (p *process) watched() http.Handler {
	var h http.Handler = p.probeMux()
	for _, part := range p.parts {
		if part.Server != nil && part.Server.FailureThreshold > 0 {
			h = part.Server.WatchProbes(h)
		}
	}
	return h
}
