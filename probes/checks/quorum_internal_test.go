// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What has come by the end of the context counts; of two cases that are ready a
// select takes either.
func TestWhatHasComeCounts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 1000 {
		results := make(chan result, 1)
		_, ok := next(ctx, results)
		assert.False(t, ok)
		results <- result{member: 7}
		r, ok := next(ctx, results)
		assert.True(t, ok)
		assert.Equal(t, 7, r.member)
	}
}
