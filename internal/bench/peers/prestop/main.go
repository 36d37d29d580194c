// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command prestop runs a command as a kubelet does whose pod has a preStop sleep: at
// SIGTERM it sleeps for a time, and then passes the signal on.
//
//	prestop 5s command [argument ...]
package main

import (
	"errors"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: prestop sleep command [argument ...]")
	}
	sleep, err := time.ParseDuration(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	go func() {
		<-told
		time.Sleep(sleep)
		cmd.Process.Signal(syscall.SIGTERM)
	}()
	if err := cmd.Wait(); errors.As(err, new(*exec.ExitError)) {
		os.Exit(max(cmd.ProcessState.ExitCode(), 1)) // -1 if by a signal
	} else if err != nil {
		log.Fatal(err)
	}
}
