// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package load

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// A Cause says what became of a request.
type Cause int

// The causes. All but OK are losses.
const (
	OK        Cause = iota // a complete 2xx
	Refused                // the dial was refused
	Reset                  // RST, at the dial or later; RST_STREAM
	Closed                 // the end of the stream before the first byte of an answer
	GoAway                 // the same after a GOAWAY, or one that leaves the request out
	Timeout                // no complete answer in time
	Status                 // a complete answer that is not a 2xx
	Truncated              // an answer that ends early
	Other                  // anything else; the error says what
	Causes                 // how many there are
)

func (c Cause) String() string {
	return [...]string{"ok", "refused", "reset", "closed", "goaway", "timeout", "status", "truncated", "other"}[c]
}

// A Result is what became of one request.
type Result struct {
	Kind    Kind
	ID      uint64 // of the request, which has it in its header "Request-Id", as 16 hexadecimal digits
	Start   time.Time
	Latency time.Duration
	Cause   Cause
	Err     error  // nil when OK
	Status  int    // the answer's; zero when there is none
	Server  string // the answer's Server-Id header, if it has one
	Local   string // the client's address; empty when the dial failed
	Reused  bool   // the connection was there: another request had needed it before
}

// classify returns the cause of an error. answered says whether a byte of the
// answer had come.
func classify(err error, answered bool) Cause {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.As(err, new(streamError)):
		return Reset
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if answered {
			return Truncated
		}
		return Closed
	case strings.Contains(err.Error(), "GOAWAY"): // net/http has three errors that say so, and exports none
		if answered {
			return Truncated
		}
		return GoAway
	}
	return Other
}

// A streamError is how an HTTP/2 stream was reset. That of net/http, which is not
// exported, converts itself to any struct of these fields.
type streamError struct {
	StreamID, Code uint32
	Cause          error
}

func (streamError) Error() string { return "a stream was reset" }
