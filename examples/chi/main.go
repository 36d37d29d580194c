// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command chi is a service on a chi router, with a dependency, that loses no
// request when it is replaced. Copy it, and put your own in place of work and store.
//
// It speaks HTTP/1.1 and h2c on $PORT (8080) and serves /livez, /readyz, /startupz
// on $PROBE_PORT (8081; the same number as PORT mounts them on the chi router).
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	r := chi.NewRouter()
	r.With(middleware.Recoverer).HandleFunc("/work", work)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // a mesh's proxy, or gRPC; with TLS, SetHTTP2
	srv := &http.Server{Addr: addr, Handler: r, Protocols: protocols, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		Probes:    new(probes.Registry),
		ProbeAddr: probeAddr,
		Components: []lifecycle.Component{
			{Name: "store", Start: nothing, Stop: nothing, Ready: nothing},
			lifecycle.HTTP("http", srv, "store"),
		},
	}
	if probeAddr == addr {
		app.ProbeAddr = ""
		app.Probes.Mount(r)
	}
	lifecycle.Main(app)
}

// Put your database's three here: opened before http starts, closed after its last answer.
func nothing(context.Context) error { return nil }

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
