// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"slices"
	"time"
)

// add adds c and all that it depends on to a set. Each is visited once, since there
// may be exponentially many paths. Nil adds nothing.
func (c *check) add(to map[*check]bool) {
	if c == nil || to[c] {
		return
	}
	to[c] = true
	for _, d := range c.deps {
		d.add(to)
	}
}

// need notes that everything that c depends on is needed at an interval. What
// is needed already has noted that before.
func (c *check) need() {
	for _, d := range c.deps {
		if !d.needed {
			d.needed = true
			d.need()
		}
	}
}

// roots returns the names of the checks at the root of what c is skipped for, and
// until when all of them are tolerated. What c depends on is settled already.
func (c *check) roots() (causes []string, tolerated time.Time) {
	all := true // of them are tolerated
	for _, d := range c.deps {
		known := d.known.Load()
		switch known.state {
		case failing:
			causes = append(causes, d.Name)
		case skipped:
			causes = append(causes, known.causes...)
		default:
			continue
		}
		all = all && !known.tolerated.IsZero()
		tolerated = earliest(tolerated, known.tolerated)
	}
	if !all {
		tolerated = time.Time{}
	}
	slices.Sort(causes)
	return slices.Compact(causes), tolerated
}
