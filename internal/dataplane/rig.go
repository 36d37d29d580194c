// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lameduck-go/lameduck/internal/load"
	"github.com/lameduck-go/lameduck/internal/netlab"
)

const (
	replicas = 3
	spares   = 3                      // hosts without a replica: one is left alone until every plane has noticed
	oneWay   = 500 * time.Microsecond // from host to host; client and replica are two apart

	settle    = 500 * time.Millisecond // of load on all replicas before a termination
	reachMax  = 30 * time.Second
	loadAfter = time.Second // the last replica is gone

	// A replica says that its accept window is closed when it has closed its listener,
	// and on a busy machine a while after.
	closeSlack = time.Second
)

// A job is one data plane under load while replicas are terminated in one way.
type job struct {
	name            string // of the row; that of the plane, or more
	plane, strategy string
	terminations    int
	propagation     func(*rand.Rand) time.Duration
	beyond          bool      // the propagation is beyond the cap, so that something must be lost
	foreign         []foreign // clients of others that run beside our own
	segment         time.Duration
}

// A rig is what a job runs on.
type rig struct {
	job
	lab   *netlab.Lab
	dir   string
	plane plane
	rand  *rand.Rand
	books *books
	spare []string // hosts without a replica, the longest so first
	count int      // of replicas so far

	mu  sync.Mutex
	all []*process // guarded by mu
}

// A termination is the end of one replica.
type termination struct {
	begin       time.Time
	exit        time.Duration // until the replica was gone
	propagation time.Duration // until the plane was told
	closed      time.Time     // the replica's accept window
	late        bool          // the plane was told after that
	capped      bool          // the accept window was closed by its cap
	lost        int           // until the next one
	after       int           // of these, since the accept window was closed
}

// An outcome is what came of a job.
type outcome struct {
	job
	terminations []termination
	took         time.Duration
	books        *books
	balance      balance
	foreign      []tallied
}

// hosts are the names of n hosts for replicas.
func hosts(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("replica", i+1))
	}
	return names
}

// beyondCap reports whether the plane has sent clients to the replica for longer than
// that may wait: until its cap new connections came, and the plane was not told. A
// plane that asks for readiness is told within six seconds, so it never does.
func (t termination) beyondCap() bool { return t.capped && t.late }

// newRig makes the network, and puts the plane on its node.
func newRig(j job, seed *rand.Rand, dir string, slots int) (*rig, error) {
	r := &rig{job: j, rand: seed, books: newBooks(), plane: newPlane(j.plane)}
	var err error
	if r.dir, err = os.MkdirTemp(dir, j.plane); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { // proxies may give up root
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.dir, payload), []byte("payload"), 0o644); err != nil {
		return nil, err
	}
	if r.lab, err = netlab.Open(oneWay, append([]string{"clients", "node"}, hosts(slots)...)...); err != nil {
		return nil, err
	}
	return r, nil
}

// close takes the rig down, and returns when all that ran there is gone.
func (r *rig) close() {
	r.lab.Close()
	r.plane.wait()
	for _, p := range r.all {
		<-p.gone
	}
}

// launch starts a replica and has the plane route to it.
func (r *rig) launch(ctx context.Context, host string) (*process, error) {
	r.mu.Lock()
	r.count++
	id := fmt.Sprint("replica ", r.count)
	r.mu.Unlock()
	p, err := launch(ctx, r.lab, host, r.strategy, id, r.books)
	if p != nil {
		r.mu.Lock()
		r.all = append(r.all, p)
		r.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return p, r.plane.route(host)
}

// addr returns where clients find the plane.
func (r *rig) addr(proto string) string { return r.lab.Addr("node") + ":" + r.plane.port(proto) }

// run runs the job.
func (j job) run(ctx context.Context, seed *rand.Rand, dir string) (o *outcome, err error) {
	r, err := newRig(j, seed, dir, replicas+spares)
	if err != nil {
		return nil, err
	}
	defer r.close()
	procs, err := r.begin(ctx)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
		return nil, fmt.Errorf("%w\n%s", err, log[max(0, len(log)-1000):])
	}
	o = &outcome{job: j, books: r.books}
	begin := time.Now()
	stop := r.load(ctx)
	defer stop()
	stopForeign := r.loadForeign(ctx)
	defer stopForeign()
	for i := range j.terminations {
		var t termination
		if procs[i%replicas], t, err = r.replace(ctx, procs[i%replicas]); err != nil {
			return nil, err
		}
		o.terminations = append(o.terminations, t)
	}
	pause(ctx, loadAfter)
	if o.foreign, err = stopForeign(); err != nil {
		return nil, err
	}
	stop()
	o.took = time.Since(begin)
	if err := r.end(ctx, procs); err != nil {
		return nil, err
	}
	o.settle()
	return o, ctx.Err()
}

// settle closes the books, and puts each loss down to the termination that was
// under way or had been the last.
func (o *outcome) settle() {
	o.balance = o.books.balance()
	for i := range o.terminations {
		end := time.Now()
		if i+1 < len(o.terminations) {
			end = o.terminations[i+1].begin
		}
		t := &o.terminations[i]
		t.lost = o.books.between(t.begin, end)
		t.after = t.lost
		if from := t.closed.Add(-closeSlack); from.After(t.begin) {
			t.after = o.books.between(from, end)
		}
	}
}

// begin starts the plane and the first replicas, and returns when all are reached.
func (r *rig) begin(ctx context.Context) (procs []*process, err error) {
	all := hosts(replicas + spares)
	if err := r.plane.start(r.lab, r.dir, all); err != nil {
		return nil, err
	}
	r.spare = all[replicas:]
	for _, h := range all[:replicas] {
		p, err := r.launch(ctx, h)
		if err != nil {
			return nil, err
		}
		procs = append(procs, p)
	}
	return procs, r.warmUp(ctx, procs)
}

// warmUp returns when every replica has been reached through the plane.
func (r *rig) warmUp(ctx context.Context, procs []*process) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachMax, errors.New("the plane does not reach every replica"))
	defer cancel()
	for _, proto := range []string{"", "h2c"} {
		for good := 0; good < 10*replicas; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if r.probe(ctx, proto) != nil {
				good = 0
				pause(ctx, 50*time.Millisecond)
			} else {
				good++
			}
		}
	}
	for _, p := range procs {
		for !isClosed(p.reached) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.probe(ctx, "")
		}
	}
	return nil
}

// replace terminates a replica, once all are reached, and starts another on a spare
// host at the same moment, as a ReplicaSet does for a pod that is deleted. It
// returns when the one is gone, and the plane told, and the other reached.
func (r *rig) replace(ctx context.Context, old *process) (next *process, t termination, err error) {
	pause(ctx, settle)
	host := r.spare[0]
	r.spare = append(r.spare[1:], old.host)
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() (err error) { t, err = r.terminate(bothCtx, old); return err })
	both.Go(func() (err error) { next, err = r.launch(bothCtx, host); return err })
	if err := both.Wait(); err != nil {
		return nil, t, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachMax, errors.New("the plane does not find it"))
	defer cancel()
	return next, t, next.await(ctx, next.reached, "to be reached")
}

// terminate ends a replica as Kubernetes does: the control plane's word to the
// plane and the kubelet's to the process go their ways side by side.
func (r *rig) terminate(ctx context.Context, p *process) (termination, error) {
	r.mu.Lock()
	t := termination{begin: time.Now(), propagation: r.propagation(r.rand)}
	r.mu.Unlock()
	var both errgroup.Group
	both.Go(func() error {
		if r.strategy == preStop {
			pause(ctx, preStopSleeps)
		}
		err := p.terminate(ctx)
		t.exit = time.Since(t.begin)
		return err
	})
	var unrouted time.Time
	both.Go(func() error {
		if !r.plane.told() {
			return nil
		}
		pause(ctx, t.propagation)
		err := r.plane.unroute(p.host)
		unrouted = time.Now()
		return err
	})
	if err := both.Wait(); err != nil {
		return t, err
	}
	t.closed, t.capped = p.window()
	if t.closed.IsZero() {
		t.closed = t.begin
	}
	t.late = r.plane.told() && unrouted.After(t.closed)
	return t, ctx.Err()
}

// end terminates what still runs; nobody asks it any more.
func (r *rig) end(ctx context.Context, procs []*process) error {
	var all errgroup.Group
	for _, p := range procs {
		all.Go(func() error { return p.terminate(ctx) })
	}
	return all.Wait()
}

// load starts our own clients. The function that it returns ends them, once they
// have finished what they had begun, and may be called twice.
func (r *rig) load(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, m := range mix {
		for range m.clients {
			c := &load.Client{Kind: m.kind, Path: "/", Dial: r.dialer(m.kind.Proto), Record: r.books.client, Spread: time.Second}
			group.Go(func() { c.Run(ctx) })
		}
	}
	return func() {
		cancel()
		group.Wait()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
