// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A port that the system has chosen is nowhere else to be read.
func TestAddressOfTheProbesIsLogged(t *testing.T) {
	a, log := app()
	a.ProbeAddr = "127.0.0.1:0"
	onceStarted(a, func() { a.Shutdown("enough") })
	require.NoError(t, a.Run(t.Context()))
	assert.Regexp(t, regexp.MustCompile(`msg="probe listener opened" address=127\.0\.0\.1:[1-9]`), log.String())
}

// Nor is that of a server.
func TestAddressOfAServerIsLogged(t *testing.T) {
	a, log := app(lifecycle.HTTP("web", &http.Server{Addr: "127.0.0.1:0"}))
	onceStarted(a, func() { a.Shutdown("enough") })
	require.NoError(t, a.Run(t.Context()))
	assert.Regexp(t, regexp.MustCompile(`msg=listening component=web address=127\.0\.0\.1:[1-9]`), log.String())
}
