// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

func TestExpect(t *testing.T) {
	var r probes.Registry
	migrated, err := r.Expect("migrations")
	require.NoError(t, err)
	warm, err := r.Expect("cache")
	require.NoError(t, err)
	const both = "503 not ready: starting, missing: migrations, cache\n"
	assert.Equal(t, both, get(r.StartupHandler()))
	assert.Equal(t, both, get(r.ReadyHandler()))
	assert.Equal(t, okBody, get(r.LiveHandler()))
	migrated()
	migrated()
	r.Started()
	assert.Equal(t, "503 not ready: starting, missing: cache\n", get(r.StartupHandler()))
	assert.Equal(t, "503 not ready: starting, missing: cache\n", get(r.ReadyHandler()))
	for name, want := range map[string]string{
		"":      "a startup step has no name",
		"cache": `there is a startup step "cache" already`,
		"a\nb":  `startup step "a\nb" has characters in its name that cannot be printed`,
	} {
		_, err := r.Expect(name)
		assert.ErrorIs(t, err, probes.ErrInvalid)
		assert.EqualError(t, err, "probes: invalid check: "+want)
	}
	warm()
	assert.Equal(t, okBody, get(r.StartupHandler()))
	assert.Equal(t, okBody, get(r.ReadyHandler()))
	_, err = r.Expect("late")
	assert.EqualError(t, err, `probes: invalid check: startup step "late" is announced after the start`)
	assert.Equal(t, okBody, get(r.StartupHandler()))
}

func TestStepsWithoutStartedAreNotEnough(t *testing.T) {
	var r probes.Registry
	done, err := r.Expect("cache")
	require.NoError(t, err)
	done()
	assert.Equal(t, starting, get(r.StartupHandler()))
	assert.Equal(t, starting, get(r.ReadyHandler()))
}
