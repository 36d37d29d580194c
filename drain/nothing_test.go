// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// What is nil or empty is named where it is given.
func TestNothing(t *testing.T) {
	s := &drain.Server{HTTP: new(http.Server)}
	assert.EqualError(t, s.Serve(nil), "drain: the listener is nil")
	assert.EqualError(t, s.ServeTLS(nil, "", ""), "drain: the listener is nil")
	assert.PanicsWithValue(t, "drain: LongLived of a nil handler", func() { drain.LongLived(nil) })

	var work drain.Tracker
	_, _, err := work.Start(t.Context(), "")
	require.NoError(t, err)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	assert.ErrorContains(t, work.Drain(ctx), "unnamed work (running for")
}
