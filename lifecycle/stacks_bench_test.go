// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"testing"
)

// BenchmarkStacks is what it costs to say what hangs, by the number of goroutines.
func BenchmarkStacks(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			release := make(chan struct{})
			var group sync.WaitGroup
			for i := range n {
				group.Go(func() {
					pprof.Do(b.Context(), pprof.Labels(stackLabel, fmt.Sprint(i)), func(context.Context) { <-release })
				})
			}
			for b.Loop() {
				<-newProfiler().begin(0).done
			}
			close(release)
			group.Wait()
		})
	}
}
