// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package draintest_test

import (
	"context"
	"fmt"
	"os"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// A program in processes of its own, here this test binary, of which two are terminated.
func ExampleRoll_command() {
	report, err := draintest.Roll(context.Background(), draintest.Config{
		Command:      []string{os.Args[0]},            // "./service"
		Env:          []string{serverEnv + "=drains"}, // beside PORT and PROBE_PORT
		Ready:        "/readyz",
		Path:         "/orders",
		Output:       os.Stderr,
		Terminations: 2,
		Clients:      2 * draintest.DefaultClients,
		Propagation:  draintest.DefaultPropagation / 5,
		Settle:       draintest.DefaultSettle / 5,
		ExitTimeout:  2 * draintest.DefaultExitTimeout, // on a machine that has much else to do
	})
	fmt.Println(len(report.Exits), "terminations,", report.Lost(), "lost", err)
	// Output: 2 terminations, 0 lost <nil>
}
