// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// TestErrorTextInTheLogIsBounded: the log has more of an error than answers have, and not
// all of one that has no end.
func TestErrorTextInTheLogIsBounded(t *testing.T) {
	for size, want := range map[int]int{8 << 10: 8 << 10, 8<<10 + 1: 8 << 10, 1 << 20: 8 << 10} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.ready("db", func(context.Context) error { return errors.New(strings.Repeat("x", size)) })
			r.run()
			log := r.log()
			assert.Equal(t, want, strings.Count(log, "x")-strings.Count(log[:strings.Index(log, "error=")], "x"))
			r.end()
		})
	}
}
