// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package heptio_test

import (
	"fmt"

	"github.com/heptiolabs/healthcheck"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/heptio"
)

func ExampleCheck() {
	var registry probes.Registry
	err := registry.AddReadiness(probes.Check{
		Name: "goroutines",
		Func: heptio.Check(healthcheck.GoroutineCountCheck(10_000)),
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleNewHandler() {
	var registry probes.Registry
	h := heptio.NewHandler(&registry)
	h.AddReadinessCheck("goroutines", healthcheck.GoroutineCountCheck(10_000))
	registry.Started()
	fmt.Print(get(h, "GET", "/ready")) // registry.Run is what runs the check
	// Output: 503 not ready: goroutines
}
