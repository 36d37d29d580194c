// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"strings"
)

// stackLabel is the profiler label that carries a component's name.
const stackLabel = "lameduck.component"

// stacks returns the stacks of the goroutines that belong to a component, in the
// text form of the goroutine profile, or "" when there are none.
func stacks(component string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return ""
	}
	// The profile has a block for each distinct stack, a blank line after it,
	// and the labels on a line of their own, as Go-quoted strings.
	label := fmt.Sprintf("%q:%q", stackLabel, component)
	var found []string
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(block, "# labels: ") && strings.Contains(block, label) {
			found = append(found, strings.TrimSpace(block))
		}
	}
	return strings.Join(found, "\n\n")
}
