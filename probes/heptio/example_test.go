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
	h := heptio.NewHandler(nil) // was healthcheck.NewHandler()
	h.AddReadinessCheck("goroutines", healthcheck.GoroutineCountCheck(10_000))
	fmt.Print(get(h, "GET", "/ready?full=1"))
	// Output:
	// 200 {
	//     "goroutines": "OK"
	// }
}
