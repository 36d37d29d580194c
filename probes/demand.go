// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"slices"
	"time"
)

// maxWait is how long a probe waits for checks that run on demand, in all. It is
// shorter than the second that the kubelet gives a probe unless it is told
// otherwise. After it the probe is answered what is known by then.
const maxWait = 800 * time.Millisecond

// demand has every check of a kind that is on demand run if its result is too
// old and it is not excluded, or only the one of a name with what it depends on,
// and waits for that. However many probes come meanwhile there is one run, which
// knows nothing of ctx: one of them that goes away changes nothing.
//
// It is called by a probe only that finds a run to be started or to be waited for:
// see verdict.ask. All others take no lock.
func (r *Registry) demand(ctx context.Context, k kind, name string, exclude []string) {
	began := time.Now()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for {
		runs := r.demandAll(k, name, exclude, began)
		for _, over := range runs {
			select {
			case <-over:
			case <-ctx.Done():
				return
			case <-timer.C:
				return
			}
		}
		if len(runs) == 0 {
			return
		}
		// Again, for those that are no longer skipped now.
	}
}

// demandAll returns what is closed when the runs are over that a probe has to
// wait for: none that is late already, and none if nobody runs them. A result
// from after the probe began is fresh, however short its time to live is.
func (r *Registry) demandAll(k kind, name string, exclude []string, began time.Time) (runs []<-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var only map[*check]bool
	if name != "" {
		only = make(map[*check]bool)
		r.checks.find(k.checks(), name).add(only)
	}
	now := time.Now()
	news := r.moved // what was waited for is over, and may not be published yet
	for _, c := range r.onDemand {
		if c.kind != k.checks() || r.retiredLocked(c) || name != "" && !only[c] {
			continue
		}
		if name == "" && slices.Contains(exclude, c.Name) {
			continue
		}
		known := c.known.Load()
		fresh := now.Before(c.stale(known, now)) || !known.ended.Before(began)
		if fresh || known.state == skipped || c.moot.Load() {
			continue
		}
		switch {
		case c.lateLocked(now) || c.running && !r.alive:
			c.mootLocked()
			news = true
		default:
			news = r.demandLocked(c, now) || news
			if r.alive {
				runs = append(runs, c.over)
			}
		}
	}
	if news {
		r.publishLocked(now)
	}
	return runs
}

// lateLocked reports whether a run of c takes longer than it may. One that does
// not count is not late: what is waited for is the next one.
func (c *check) lateLocked(now time.Time) bool {
	return c.running && !c.void && !now.Before(c.began.Add(c.Timeout))
}

// mootLocked has probes neither ask for c nor wait for it, until its next run
// begins or this one is over.
func (c *check) mootLocked() {
	c.letGoLocked()
	c.moot.Store(true)
}

// letGoLocked lets go who waits for a run of c.
func (c *check) letGoLocked() {
	if c.over != nil {
		close(c.over)
		c.over = nil
	}
}

// demandLocked has c run, unless it does or is about to, and reports whether
// that is new. From then on the age of the result that there is counts. While a
// run is under way that does not count, it is the next one that is demanded.
func (r *Registry) demandLocked(c *check, now time.Time) bool {
	if c.over == nil && r.alive {
		c.over = make(chan struct{})
	}
	if c.demanded || c.running && !c.void {
		return false
	}
	c.asked, c.demanded, c.next = true, true, now
	c.moot.Store(!r.alive)
	c.due = now.Add(c.patience + c.Timeout)
	r.expireLocked(c, c.due)
	r.wakeLocked()
	return true
}

// again returns when a check on demand is to run again for those that depend on
// it: when its result is too old, and after a failure, which they may wait to see
// decided, at the interval for that.
func (c *check) again(known *result, now time.Time) time.Time {
	if !known.ended.IsZero() && (known.state == failing || c.failures > 0) {
		return known.ended.Add(c.FailingInterval)
	}
	return c.stale(known, now)
}
