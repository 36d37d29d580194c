// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain

import (
	"io"
	"net/http"
)

// A goingWriter is the ResponseWriter of the answer that makes net/http send its GOAWAY
// over HTTP/2, which "Connection: close" does and never sees the wire. But with a 1xx
// net/http sends the header as it is by then, and a client resets a stream that has a
// Connection header (RFC 9113, section 8.2.2). There is one for a connection at most.
type goingWriter struct{ http.ResponseWriter }

func (w goingWriter) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	header := w.Header()
	if said, ok := header["Connection"]; ok {
		delete(header, "Connection")
		defer func() { header["Connection"] = said }()
	}
	w.ResponseWriter.WriteHeader(status)
}

// What the ResponseWriter of HTTP/2 can do besides.

func (w goingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w goingWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func (w goingWriter) WriteString(s string) (int, error) { return io.WriteString(w.ResponseWriter, s) }

func (w goingWriter) Push(target string, opts *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, opts)
}

// CloseNotify is what a router's own ResponseWriter may ask for, as gin's does.
func (w goingWriter) CloseNotify() <-chan bool {
	return w.ResponseWriter.(http.CloseNotifier).CloseNotify() //lint:ignore SA1019 it is kept, not used
}
