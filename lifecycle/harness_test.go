// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import "strings"

// programEnv names the environment variable that makes the test binary one of programs,
// which are registered by the files that test them.
const programEnv = "LAMEDUCK_TEST_PROGRAM"

var programs = make(map[string]func())

// lines returns the lines that contain text.
func lines(output, text string) (all []string) {
	for line := range strings.Lines(output) {
		if strings.Contains(line, text) {
			all = append(all, line)
		}
	}
	return all
}
