// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// What the error of [App.Run] wraps.
var (
	ErrConfig   = errors.New("lifecycle: invalid configuration")
	ErrStart    = errors.New("lifecycle: start failed")
	ErrDeadline = errors.New("lifecycle: not done by its deadline")
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

// protect calls f and returns its error, or one that says that f panicked. Everything
// that the error has methods for is asked here, where they can block or panic as f can.
func protect(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return settle(ctx, f(ctx))
}

// finally calls f and then over, with f's error or, if f leaves by runtime.Goexit, one
// that says so; over is then the last that the goroutine does.
func finally(f func() error, over func(error)) {
	err := errGoexit
	defer func() {
		if err == errGoexit {
			over(err)
		}
	}()
	err = f()
	over(err)
}

// panicked returns the error of a panic. What was panicked with can be asked for by
// [errors.Is] and [errors.As], if it is an error.
func panicked(v any) error {
	s := &settled{text: fmt.Sprintf("panic: %v\n%s", v, debug.Stack())}
	s.err, _ = v.(error)
	s.ask(context.Background())
	return s
}

// A settled error is a component's of which nothing has to be asked any more. Its err
// is for those who are given it in the end, and for nobody in this package. A panic is
// nothing but that, whatever its value says.
type settled struct {
	text string
	err  error // may be nil

	returned  bool // by the component, which has neither panicked nor left
	cancelled bool // it is context.Canceled
	closed    bool // it is what a closed listener or server says
	late      bool // it is context.DeadlineExceeded, or says what was cut
	told      bool // the component's context has ended, and it says so
}

func (e *settled) Error() string { return e.text }
func (e *settled) Unwrap() error { return e.err }

// settle returns the error of a function that was called with ctx.
func settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	s := &settled{text: err.Error(), err: err, returned: true}
	s.ask(ctx)
	return s
}

// ask asks the error what it wraps. One that cannot bear it is not asked again: a nil
// *net.OpError, for example.
func (e *settled) ask(ctx context.Context) {
	defer func() {
		if recover() != nil {
			*e = settled{text: e.text, returned: e.returned}
		}
	}()
	cancelled := errors.Is(e.err, context.Canceled)
	late := errors.Is(e.err, context.DeadlineExceeded) || errors.Is(e.err, drain.ErrCut)
	told := ctx.Err() != nil && (cancelled || errors.Is(e.err, ctx.Err()) || errors.Is(e.err, context.Cause(ctx)))
	if e.returned {
		e.cancelled, e.late, e.told = cancelled, late, told
		e.closed = errors.Is(e.err, net.ErrClosed) || errors.Is(e.err, http.ErrServerClosed)
	}
}

// of returns what is known of an error of [protect].
func of(err error) settled {
	if s, ok := err.(*settled); ok {
		return *s
	}
	return settled{}
}

// textOf returns the text of an error that is nobody's component's, if it is to be had
// at once.
func textOf(err error) string {
	text := make(chan string, 1)
	ask := func() error { return protect(context.Background(), func(context.Context) error { return err }) }
	go finally(ask, func(err error) { text <- err.Error() })
	if text, ok := receive(text, time.Now().Add(lastWait)); ok {
		return text
	}
	return "not known: its text is not to be had"
}
