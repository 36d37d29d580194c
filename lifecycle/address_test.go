// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A port that the system has chosen is nowhere else to be read.
func TestAddressOfTheProbesIsLogged(t *testing.T) {
	a, log := app()
	a.ProbeAddr = "127.0.0.1:0"
	onceStarted(a, func() { a.Shutdown("enough") })
	require.NoError(t, a.Run(t.Context()))
	assert.Regexp(t, regexp.MustCompile(`msg="probe listener opened" address=127\.0\.0\.1:[1-9]`), log.String())
}
