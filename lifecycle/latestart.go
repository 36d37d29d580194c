// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"time"

	"github.com/lameduck-go/lameduck/internal/steps"
)

// lateStart is how long the start of a part may take before it is named.
const lateStart = 2 * time.Second

// nameLate has the probes name each part whose start takes long, and returns how long
// after that it has to be called again. What waits for such a part has not begun to
// start, and is not named.
func (s *startup) nameLate() (again time.Duration) {
	again = lateStart
	for _, part := range s.parts {
		left, late := part.startsLate()
		if !late {
			again = min(again, left)
			continue
		}
		s.log.Warn("component is still starting", "component", part.Name, "after", lateStart)
		part.isNamed(steps.Lend(s.probes, part.Name))
	}
	return again
}

// startBegins notes that the part's start begins.
func (p *part) startBegins() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin = time.Now()
	return p.begin
}

// startsLate reports whether the part's start has taken so long that it is to be named,
// which it says once, or else how long it is until then, if it is starting.
func (p *part) startsLate() (left time.Duration, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begin.IsZero() {
		return lateStart, false
	}
	if left = lateStart - time.Since(p.begin); left > 0 {
		return left, false
	}
	p.begin, p.named = time.Time{}, func() {}
	return 0, true
}

// isNamed notes what ends that the probes name the part's start, and calls it if the
// start is over.
func (p *part) isNamed(done func()) {
	p.mu.Lock()
	over := p.named == nil
	if !over {
		p.named = done
	}
	p.mu.Unlock()
	if over {
		done()
	}
}

// startEnds notes that the part's start is over.
func (p *part) startEnds() {
	p.mu.Lock()
	done := p.named
	p.begin, p.named = time.Time{}, nil
	p.mu.Unlock()
	if done != nil {
		done()
	}
}
