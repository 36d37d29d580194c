// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Both are to be over before the kubelet, which waits for a second unless it is
// told otherwise, gives up and says nothing of what it was.
func TestProbesAreAnsweredInTheKubeletsTime(t *testing.T) {
	const kubelet = time.Second
	assert.LessOrEqual(t, execTimeout, kubelet*9/10)
	assert.LessOrEqual(t, maxWait, kubelet*9/10)
}
