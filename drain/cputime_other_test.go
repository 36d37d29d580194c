// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build !unix

package drain_test

import "time"

// cpuTime is not known elsewhere.
func cpuTime() time.Duration { return 0 }
