// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// patienceSteps is in how many steps a patience waits.
const patienceSteps = 20

// A patience is a timer for a client that waits for a server. It waits in steps, each of
// which begins when the one before has been seen to be over. So what a process stands still
// for, on a machine that is busy or stopped, counts as one step, however long it is: a
// client that did not run has not been kept waiting by the server.
type patience struct {
	mu    sync.Mutex // held while f runs
	timer *time.Timer
	left  int // steps; zero: over
}

// lose calls f once d is over, unless stop is called before.
func lose(d time.Duration, f func()) *patience {
	p := &patience{left: patienceSteps}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(d/patienceSteps, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.left == 0 {
			return
		}
		if p.left--; p.left > 0 {
			p.timer.Reset(d / patienceSteps)
			return
		}
		f()
	})
	return p
}

// stop ends p, and reports whether f was not called. It will not be when stop has returned.
func (p *patience) stop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	kept := p.left > 0
	p.left = 0
	return kept
}

// judge stops p, and makes a [Timeout] of the error of what p has ended.
func (p *patience) judge(err error) error {
	if kept := p.stop(); !kept && err != nil {
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	}
	return err
}
