// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// What the error of [App.Run] wraps.
var (
	ErrConfig   = errors.New("invalid configuration")
	ErrStart    = errors.New("start failed")
	ErrDeadline = errors.New("not done by its deadline")
)

// An Error is the failure of one component.
type Error struct {
	Component string // its name
	Op        string // "start", "run", "check", "drain" or "stop"
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Component, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the status with which [Main] leaves the process after Run has
// returned err:
//
//	0  clean
//	1  a component failed while it ran or stopped, or its check panicked
//	2  the configuration is invalid; nothing was started
//	3  a component did not start; what had started was stopped
//	4  something was cut or hung at the deadline
//
// A second signal ends the process with 128 plus the signal's number: 130 after an
// interrupt, 143 after SIGTERM.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrConfig):
		return 2
	case errors.Is(err, ErrDeadline):
		return 4
	case errors.Is(err, ErrStart):
		return 3
	}
	return 1
}

var errGoexit = errors.New("runtime.Goexit was called")

// protect calls f and then over, once, with f's error, or one that says that f
// panicked or left by runtime.Goexit. The text of the error is written here, where
// it can block or panic as f can.
func protect(ctx context.Context, f func(context.Context) error, over func(error)) {
	err := errGoexit
	defer func() { over(err) }()
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	err = settle(f(ctx))
}

// panicked returns the error of a panic. What was panicked with can be asked for by
// [errors.Is] and [errors.As], if it is an error.
func panicked(v any) error {
	text := fmt.Sprintf("panic: %v\n%s", v, debug.Stack())
	err, _ := v.(error)
	return &settled{text: text, err: walked(err)}
}

// returned reports whether a call whose error is err has returned, and has not
// panicked or left by runtime.Goexit.
func returned(err error) bool {
	s, ok := err.(*settled)
	return ok && s.returned || err == nil
}

// A settled error has its text written down.
type settled struct {
	text     string
	err      error // may be nil
	returned bool  // by the component, which has neither panicked nor left
}

func (e *settled) Error() string { return e.text }
func (e *settled) Unwrap() error { return e.err }

func settle(err error) error {
	if err == nil {
		return nil
	}
	return &settled{err.Error(), walked(err), true}
}

// walked returns err if it can be asked what it wraps, and nil if that panics: a
// nil *net.OpError in an error, for example.
func walked(err error) (same error) {
	defer func() {
		if recover() != nil {
			same = nil
		}
	}()
	_ = errors.Is(err, errGoexit)
	return err
}
