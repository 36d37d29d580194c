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
	only := make(map[*check]bool)
	find(r.checks, k.checks(), name).add(only)
	now := time.Now()
	news := false
	for _, c := range r.order {
		if c.TTL == 0 || c.kind != k.checks() || r.retiredLocked(c) || name != "" && !only[c] {
			continue
		}
		if name == "" && slices.Contains(exclude, c.Name) {
			continue
		}
		known := c.known.Load()
		fresh := now.Before(c.stale(known, now)) || !known.ended.Before(began)
		if fresh || known.state == skipped {
			continue
		}
		news = r.demandLocked(c, now) || news
		late := c.running && !now.Before(c.began.Add(c.Timeout))
		if r.alive && !late {
			runs = append(runs, c.over)
		}
	}
	if news {
		r.publishLocked(now)
	}
	return runs
}

// demandLocked has c run, unless it does or is about to, and reports whether
// that is new. From then on the age of the result that there is counts.
func (r *Registry) demandLocked(c *check, now time.Time) bool {
	if c.over == nil {
		c.over = make(chan struct{})
	}
	if c.running || c.demanded {
		return false
	}
	c.demanded, c.next = true, now
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
