// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/stall"
)

// A trial is a test of what has to be done in time, on a machine that may stand still or
// have little time for it. What fails is not yet a failure of the test.
type trial struct {
	testing.TB
	clock *stall.Clock
	still time.Duration // more than the clock says

	mu       sync.Mutex
	problems []string
}

func (tr *trial) Errorf(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

func (tr *trial) Fatalf(format string, args ...any) {
	tr.Errorf(format, args...)
	tr.FailNow()
}

func (tr *trial) FailNow() { runtime.Goexit() }

// stillness is for how long a process may be kept from running, at once, in a trial that
// counts.
const stillness = 100 * time.Millisecond

// steadily calls f until it has not failed, or has in spite of a machine that let this
// process run all the time. f is called in a goroutine of its own.
func steadily(t *testing.T, f func(t *trial)) {
	t.Helper()
	for t.Context().Err() == nil {
		tr := &trial{TB: t, clock: stall.Start()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			f(tr)
		}()
		<-done
		still := max(tr.clock.Stop(), tr.still)
		if len(tr.problems) == 0 {
			return
		}
		problems := strings.Join(tr.problems, "\n")
		if still < stillness {
			t.Fatal(problems)
		}
		t.Logf("again, since this process stood still for %v:\n%s", still, problems)
	}
}

// TestTrials: what fails on a machine that stands still is tried again.
func TestTrials(t *testing.T) {
	tries := 0
	steadily(t, func(tr *trial) {
		if tries++; tries < 3 {
			tr.still = time.Second
			require.Fail(tr, "not this time")
			panic("unreachable")
		}
	})
	assert.Equal(t, 3, tries)
}
