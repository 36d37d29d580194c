// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// What the error of [App.Run] wraps.
var (
	ErrConfig   = errors.New("invalid configuration")
	ErrStart    = errors.New("start failed")
	ErrDeadline = errors.New("not done by its deadline")
)

// An Error is the failure of one component, or of the probe listener, whose name is
// "probes".
type Error struct {
	Component string // its name
	Op        string // "start", "run", "check", "drain" or "stop"
	Err       error

	late bool // the App has cut it off; what Err wraps may be another App's
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Component, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the status with which [Main] leaves the process after Run has
// returned err:
//
//	0  clean
//	1  a component failed while it ran or stopped, or its check panicked, or the
//	   probe listener broke
//	2  the configuration is invalid; nothing was started
//	3  a component did not start, or the probe listener was not opened; what had
//	   started was stopped
//	4  something was cut or hung at the deadline
//
// What a component's own error wraps decides nothing, such as that of another App that
// it has run. A second signal ends the process with 128 plus the signal's number: 130
// after an interrupt, 143 after SIGTERM.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case says(err, ErrConfig):
		return 2
	case says(err, ErrDeadline):
		return 4
	case says(err, ErrStart):
		return 3
	}
	return 1
}

// says is [errors.Is] for what the App itself has said, outside of a component's error.
func says(err, what error) bool {
	if e, ok := err.(*Error); ok {
		return e.late && what == ErrDeadline
	}
	if err == what {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return says(e.Unwrap(), what)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return says(err, what) })
	}
	return false
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
