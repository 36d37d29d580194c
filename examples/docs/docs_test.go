// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Package docs_test holds the pages of this folder, and the documentation of the public
// packages, to what is there: tests, files, links, and code that compiles.
package docs_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root is that of the repository.
const root = "../.."
