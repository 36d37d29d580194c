// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/probes/checks"
)

// TestChecksMayBeCalledAtOnce is for the race detector.
func TestChecksMayBeCalledAtOnce(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	pass := func(context.Context) error { return nil }
	for name, check := range map[string]func(context.Context) error{
		"TCP":        checks.TCP(s.Listener.Addr().String()),
		"HTTP":       checks.HTTP(s.Client(), s.URL),
		"DNS":        checks.DNS(nil, "127.0.0.1"),
		"File":       checks.File("."),
		"DiskFree":   checks.DiskFree(".", 1),
		"Goroutines": checks.Goroutines(1 << 20).Check,
		"GCPause":    checks.GCPause(time.Hour).Check,
		"Memory":     checks.Memory(1).Check,
		"All":        checks.All(pass, checks.GCPause(time.Hour).Check),
	} {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 10 {
						// A check of All that still runs counts as failing.
						if err := check(t.Context()); name != "All" {
							assert.NoError(t, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
