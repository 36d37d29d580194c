// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/lameduck-go/lameduck/internal/load"
)

// A roller is one call of Roll. It owns the servers and the clients.
type roller struct {
	Config
	output    *locked
	routes    routes
	instances []instance
	clients   sync.WaitGroup
	cancel    context.CancelFunc
	loading   context.Context

	mu     sync.Mutex
	report Report // Kinds is guarded by mu while clients run
}

func newRoller(c Config) *roller {
	r := &roller{Config: c, output: &locked{w: c.Output}}
	r.loading, r.cancel = context.WithCancel(context.Background())
	for _, k := range c.Kinds {
		r.report.Kinds = append(r.report.Kinds, KindReport{Kind: k.Name})
	}
	return r
}

// start starts a server and waits until it is ready.
func (r *roller) start(ctx context.Context) (instance, error) {
	var i instance
	var err error
	if r.Serve != nil {
		i, err = startFunc(r.Serve)
	} else {
		i, err = startCommand(ctx, r.Config, r.output)
	}
	if i != nil {
		r.instances = append(r.instances, i)
	}
	return i, err
}

// load starts the clients. They are not in step, and yet all have a connection by
// the first termination.
func (r *roller) load() {
	for k, kind := range r.Kinds {
		for range kind.Clients {
			view := r.routes.join()
			client := &load.Client{
				Kind:   kind.load(),
				Path:   r.Path,
				Spread: min(kind.MaxThink, r.Settle),
				Dial: func(ctx context.Context) (net.Conn, error) {
					addr := view.pick()
					if addr == "" {
						return nil, errors.New("no server is known")
					}
					return new(net.Dialer).DialContext(ctx, "tcp", addr)
				},
				Record: func(res load.Result) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.report.Kinds[k].count(res)
				},
			}
			r.clients.Go(func() { client.Run(r.loading) })
		}
	}
}

// stopLoad ends the clients, once they have finished what they had begun.
func (r *roller) stopLoad() {
	r.cancel()
	r.clients.Wait()
}

// close ends what still runs, by force, and waits for it. The servers go first: a
// client finishes what it has begun, and with a server that hangs that is long.
func (r *roller) close() {
	r.cancel()
	for _, i := range r.instances {
		i.kill()
	}
	for _, i := range r.instances {
		select {
		case <-i.gone():
		case <-time.After(r.ExitTimeout): // a function that does not return
		}
	}
	r.clients.Wait()
}

// Routes are the servers as each client knows them.
type routes struct {
	mu    sync.Mutex // guards the views' addrs as well
	addrs []string
	views []*view
}

// A view is what one client knows.
type view struct {
	routes *routes
	addrs  []known
}

// A known server is forgotten at a time, unless that is zero.
type known struct {
	addr   string
	forget time.Time
}

// join returns the view of a new client.
func (r *routes) join() *view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &view{routes: r}
	for _, a := range r.addrs {
		v.addrs = append(v.addrs, known{addr: a})
	}
	r.views = append(r.views, v)
	return v
}

// add makes all clients know a server.
func (r *routes) add(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = append(r.addrs, addr)
	for _, v := range r.views {
		v.addrs = append(v.addrs, known{addr: addr})
	}
}

// remove makes each client forget a server after a delay of its own, and returns
// when the last one will have.
func (r *routes) remove(addr string, propagation time.Duration) (last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.addrs = slices.DeleteFunc(r.addrs, func(a string) bool { return a == addr })
	for _, v := range r.views {
		for i := range v.addrs {
			if v.addrs[i].addr == addr {
				v.addrs[i].forget = now.Add(rand.N(propagation + 1))
			}
		}
	}
	return now.Add(propagation)
}

// pick returns the address of one of the servers that the client knows.
func (v *view) pick() string {
	v.routes.mu.Lock()
	defer v.routes.mu.Unlock()
	now := time.Now()
	v.addrs = slices.DeleteFunc(v.addrs, func(k known) bool { return !k.forget.IsZero() && now.After(k.forget) })
	if len(v.addrs) == 0 {
		return ""
	}
	return v.addrs[rand.N(len(v.addrs))].addr
}

// An instance is a server that was started.
type instance interface {
	address() string
	terminate() error
	kill()
	gone() <-chan struct{}
	err() error   // how it has ended; only after gone
	said() string // what it has printed last, for an error
}
