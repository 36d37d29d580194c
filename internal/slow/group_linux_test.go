// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMountOfVersion2(t *testing.T) {
	const hybrid = `30 22 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
32 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw
`
	dir, err := cgroup2(hybrid)
	require.NoError(t, err)
	assert.Equal(t, "/sys/fs/cgroup/unified", dir)
	_, err = cgroup2("31 30 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\n")
	assert.Error(t, err)
}
