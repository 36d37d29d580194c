// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes/checks"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ready")
	check := checks.File(path)
	assert.ErrorIs(t, check(t.Context()), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	assert.NoError(t, check(t.Context()))
	assert.NoError(t, checks.File(dir)(t.Context()), "a directory is something")
	require.NoError(t, os.Remove(path))
	assert.ErrorIs(t, check(t.Context()), fs.ErrNotExist)
}

func TestDiskFree(t *testing.T) {
	dir := t.TempDir()
	assert.NoError(t, checks.DiskFree(dir, 0)(t.Context()))
	assert.NoError(t, checks.DiskFree(dir, 1)(t.Context()))
	assert.ErrorContains(t, checks.DiskFree(dir, math.MaxUint64)(t.Context()), "fewer than 16.0 EiB")
	err := checks.DiskFree(filepath.Join(dir, "nowhere"), 0)(t.Context())
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "nowhere")
}

func TestFileChecksEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	assert.ErrorIs(t, checks.File(dir)(ctx), context.Canceled)
	assert.ErrorIs(t, checks.DiskFree(dir, 0)(ctx), context.Canceled)
	assert.ErrorIs(t, checks.Certificate(dir, 0)(ctx), context.Canceled)
}
