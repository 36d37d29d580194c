// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"os"
	"os/signal"
	"syscall"
)

// MainThatHangs is Main with a shutdown that hangs itself: the first component waits
// to be drained after one that never is.
func MainThatHangs(a *App) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	p, err := newProcess(a)
	if err != nil {
		panic(err)
	}
	never := new(part)
	never.toStart.Store(2)
	p.parts[0].dependants = append(p.parts[0].dependants, never)
	os.Exit(p.main(signals))
}
