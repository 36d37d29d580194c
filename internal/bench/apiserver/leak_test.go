// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package apiserver

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
