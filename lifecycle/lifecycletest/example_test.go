// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycletest_test

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

func ExampleStartProcess() {
	_ = func(t *testing.T) { // TestSignal, in a file of your own
		p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), "./service"), "GRACE_PERIOD=10s")
		p.Ready("http://127.0.0.1:8081/readyz", 10*time.Second)
		p.Signal(syscall.SIGTERM)
		if exit := p.Wait(10 * time.Second); exit.Status != 0 {
			t.Error(exit.Status, exit.Output)
		}
	}
}
