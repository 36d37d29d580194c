// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// A roster is the checks of a registry. It is immutable, since snapshots have it, and in
// two parts: of thousands only the small one is copied each time that one is added.
type roster struct {
	most, recent []*check // each in the order of the names
}

// maxRecent is how many checks are added before the others are copied, too.
const maxRecent = 128

// with returns a roster that has some more checks, or the first of them whose name is
// taken.
func (r roster) with(added []*check) (more roster, taken *check) {
	more = roster{r.most, slices.Clone(r.recent)}
	for _, c := range added {
		i, found := slices.BinarySearchFunc(more.recent, c, byName)
		if found || r.find(c.kind, c.Name) != nil {
			return r, c
		}
		more.recent = slices.Insert(more.recent, i, c)
	}
	if len(more.recent) > maxRecent {
		more = roster{most: slices.AppendSeq(make([]*check, 0, len(more.most)+len(more.recent)), more.all())}
	}
	return more, nil
}

// all returns the checks in the order of their names.
func (r roster) all() iter.Seq[*check] {
	return func(yield func(*check) bool) {
		rest := r.most
		for _, c := range r.recent {
			before, _ := slices.BinarySearchFunc(rest, c, byName)
			for _, b := range rest[:before] {
				if !yield(b) {
					return
				}
			}
			if rest = rest[before:]; !yield(c) {
				return
			}
		}
		for _, c := range rest {
			if !yield(c) {
				return
			}
		}
	}
}

// find returns the check of that name and kind, or nil.
func (r roster) find(k kind, name string) *check {
	for _, part := range [][]*check{r.most, r.recent} {
		i, ok := slices.BinarySearchFunc(part, name, func(c *check, name string) int {
			return cmp.Or(strings.Compare(c.Name, name), cmp.Compare(c.kind, k))
		})
		if ok {
			return part[i]
		}
	}
	return nil
}

func byName(a, b *check) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.kind, b.kind))
}
