// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However its checks have come, a roster has them in the order of their names, and one
// that has been handed out stays as it was.
func TestRosterIsInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r roster
	var want []*check
	for len(want) < 5*maxRecent {
		var added []*check
		for range random.IntN(3) * random.IntN(maxRecent) {
			k := kind(random.IntN(int(startup)))
			c := &check{Check: Check{Name: strconv.Itoa(len(want) * 7919 % 10007)}, kind: k}
			added, want = append(added, c), append(want, c)
		}
		before := slices.Collect(r.all())
		more, taken := r.with(added)
		require.Nil(t, taken)
		assert.Equal(t, before, slices.Collect(r.all()))
		r = more
		slices.SortFunc(want, byName)
		require.Equal(t, want, slices.Collect(r.all()))
		assert.LessOrEqual(t, len(r.recent), maxRecent)
	}
	for _, c := range want {
		assert.Same(t, c, r.find(c.kind, c.Name))
		assert.Nil(t, r.find(startup, c.Name))
		_, taken := r.with([]*check{{Check: Check{Name: c.Name}, kind: c.kind}})
		assert.NotNil(t, taken)
	}
	twice := &check{Check: Check{Name: "new"}}
	_, taken := r.with([]*check{twice, twice})
	assert.Same(t, twice, taken)
	for range r.all() {
		break // and nothing is yielded after it
	}
}
