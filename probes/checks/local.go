// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// A Local check looks at this process and asks nobody, so that it fits AddLiveness
// as it is, and a [probes.Check] by its method Check.
type Local func() error

// Check calls l, unless ctx has ended.
func (l Local) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l()
}

// Goroutines passes while there are at most max goroutines. More, which may mean
// that they leak, is an error.
func Goroutines(max int) Local {
	return func() error {
		if n := runtime.NumGoroutine(); n > max {
			return fmt.Errorf("%d goroutines, more than %d", n, max)
		}
		return nil
	}
}

// GCPause passes while the garbage collector stops the program for less than max
// at a time. A pause of max or longer since the last run, or since the call of
// GCPause, is an error of one run. It is as exact as the histogram that the
// runtime keeps of them: a pause counts as the shortest in its bucket, so
// one of up to a quarter more than max may pass.
func GCPause(max time.Duration) Local {
	p := &pauses{sample: []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}}
	p.longest()
	return func() error {
		if d, any := p.longest(); any && d >= max {
			return fmt.Errorf("a GC pause of %v or longer, at least %v", d, max)
		}
		return nil
	}
}

// pauses is a histogram that only grows, and what was seen of it.
type pauses struct {
	mu     sync.Mutex
	sample []metrics.Sample
	seen   []uint64
}

// longest returns the longest pause since the last call, if there was any.
func (p *pauses) longest() (d time.Duration, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	metrics.Read(p.sample)
	h := p.sample[0].Value.Float64Histogram()
	if p.seen == nil {
		p.seen = make([]uint64, len(h.Counts))
	}
	for i, n := range h.Counts {
		if n > p.seen[i] {
			d, any = seconds(h.Buckets[i]), true // the buckets ascend
		}
	}
	copy(p.seen, h.Counts) // the histogram is written again by the next Read
	return d, any
}

// seconds converts the bound of a bucket, of which the first may be -Inf.
func seconds(s float64) time.Duration {
	return time.Duration(math.Max(0, s) * float64(time.Second))
}

// Memory passes while the container uses at most the share max, such as 0.9, of
// its memory limit. More is an error, and the check can say so only before the
// kernel kills: at the limit it frees the file cache, which is not counted here,
// and then ends a process. A share under that of GOMEMLIMIT turns an ordinary
// heap into a failure.
//
// Use and limit are those of the control group of the process, version 1 or 2,
// and of every group above it that can be seen. Without a limit, or off Linux, the
// check passes. Files of the control group that cannot be read or understood
// are an error.
//
// A share that is not above 0, or above 1, as a percentage is, is an error of every run.
func Memory(max float64) Local {
	if !(max > 0 && max <= 1) {
		return func() error { return fmt.Errorf("memory: the share %v is not above 0 and up to 1", max) }
	}
	return func() error { return memoryWithin(os.DirFS("/"), max) }
}
