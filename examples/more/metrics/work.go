// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// work reads the body, waits ?ms= milliseconds and answers ?bytes= bytes.
func work(w http.ResponseWriter, r *http.Request) {
	ms, err1 := strconv.ParseUint(cmp.Or(r.URL.Query().Get("ms"), "5"), 10, 31)
	size, err2 := strconv.ParseUint(cmp.Or(r.URL.Query().Get("bytes"), "2"), 10, 27)
	if err1 != nil || err2 != nil {
		http.Error(w, "ms must be below 2^31, bytes below 2^27", http.StatusBadRequest)
		return
	}
	io.Copy(io.Discard, r.Body)
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.WriteString(w, strings.Repeat("x", int(size)))
	case <-r.Context().Done(): // the client has gone, or the grace period is nearly over
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func port(name, def string) string {
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), def), 10, 16)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %q is not a port number\n", name, os.Getenv(name))
		os.Exit(2)
	}
	return fmt.Sprint(":", n)
}
