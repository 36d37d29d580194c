// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command minimal is a service on net/http alone that loses no request when it
// is replaced. Copy it, and put your own handlers in place of work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on
// $PROBE_PORT (8081; the same number as PORT mounts them on the main router).
// With the arguments "probe ready" it asks the one that runs, for an exec probe.
// GRACE_PERIOD and SHUTDOWN_DELAY, as Go durations, are read by the library.
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

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	probes.Exec(probeAddr) // minimal probe ready
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work)
	app := &lifecycle.App{
		Probes:     new(probes.Registry),
		ProbeAddr:  probeAddr,
		Components: []lifecycle.Component{lifecycle.HTTP("http", &http.Server{Addr: addr, Handler: mux})},
	}
	if probeAddr == addr {
		app.ProbeAddr = ""
		app.Probes.Mount(mux)
	}
	lifecycle.Main(app)
}

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
