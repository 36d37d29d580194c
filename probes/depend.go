// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"slices"
	"time"
)

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
