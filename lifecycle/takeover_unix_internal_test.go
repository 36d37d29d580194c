// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package lifecycle

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatDoesNotListenStaysAsItIs: LISTEN_FDS may mean somebody else's descriptor, which
// is neither closed nor taken.
func TestWhatDoesNotListenStaysAsItIs(t *testing.T) {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	var before, after syscall.Stat_t
	require.NoError(t, syscall.Fstat(fd, &before))
	for range 2 {
		_, err := takeOver(fd, "web")
		require.ErrorContains(t, err, "is not a listening socket")
	}
	require.NoError(t, syscall.Fstat(fd, &after))
	assert.Equal(t, before, after)
}
