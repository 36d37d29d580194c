// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build !linux

package main

import (
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
	"time"
)

// A group is a control group, which only Linux has.
type group struct{}

func newGroup() (*group, error) { return nil, errors.ErrUnsupported }

func (*group) hold(*exec.Cmd) {}

func (*group) stutter(context.Context, <-chan struct{}, time.Duration, time.Duration, *atomic.Int64) error {
	return errors.ErrUnsupported
}

func (*group) close() error { return errors.ErrUnsupported }
