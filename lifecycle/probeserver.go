// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"log/slog"
	"net/http"
	"time"
)

// Bounds of what a client may take of the probe listener, whoever it is: a
// connection that nothing comes of is not kept for good.
const (
	probeTime   = 5 * time.Second // for a request to come, and for its answer to be taken
	probeIdle   = 2 * time.Minute // between two requests; metrics may be collected once a minute
	probeHeader = 64 << 10        // bytes
	adminBody   = time.Minute     // for the body of a request that is not a probe
)

// newProbeServer returns the server of the probe listener.
func newProbeServer(h http.Handler, log slog.Handler) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    probeTime,
		WriteTimeout:   probeTime,
		IdleTimeout:    probeIdle,
		MaxHeaderBytes: probeHeader,
		ErrorLog:       slog.NewLogLogger(log, slog.LevelDebug),
	}
}

// unhurried returns a handler whose answers may take as long as h does, such as a
// profile. The body of a request may not: net/http reads on when h has left it.
func unhurried(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		takesItsTime(w, r)
		h.ServeHTTP(w, r)
	})
}

// takesItsTime keeps the listener's own bounds from an answer. Without a body, a read
// deadline would end the request's context.
func takesItsTime(w http.ResponseWriter, r *http.Request) {
	body := time.Time{}
	if r.ContentLength != 0 {
		body = time.Now().Add(adminBody)
	}
	c := http.NewResponseController(w)
	c.SetReadDeadline(body)
	c.SetWriteDeadline(time.Time{})
}
