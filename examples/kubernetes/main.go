// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command kubernetes is a service with all that it takes to run it on Kubernetes:
// an image, manifests, and a test that the two agree. README.md has the commands.
//
// It listens on $PORT (8080), and for the probes and the pre-stop hook on
// $PROBE_PORT (8081). With CACHE_ADDR it is ready only while something accepts
// connections there. With the argument manifest it prints what its manifest has to
// say, with "probe ready" it asks the one that runs, for an exec probe.
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
	"github.com/lameduck-go/lameduck/lifecycle/kube"
	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

func main() {
	app := newApp()
	probes.Exec(app.ProbeAddr)
	if len(os.Args) == 2 && os.Args[1] == "manifest" {
		stanza, err := kube.Stanza(app, "hello")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(stanza)
		return
	}
	lifecycle.Main(app)
}

// newApp is apart from main for the test of the manifests.
func newApp() *lifecycle.App {
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work)
	app := &lifecycle.App{
		ProbeAddr:    port("PROBE_PORT", "8081"),
		PreStopToken: os.Getenv("PRE_STOP_TOKEN"), // none, and there is no /prestop
	}
	var needs []string
	if addr := os.Getenv("CACHE_ADDR"); addr != "" {
		app.Components = []lifecycle.Component{{Name: "cache", Ready: checks.TCP(addr)}}
		needs = []string{"cache"}
	}
	server := &http.Server{Addr: port("PORT", "8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	app.Components = append(app.Components, lifecycle.HTTP("http", server, needs...))
	return app
}

// work stands for what the service does: it reads the body, waits ?ms= milliseconds
// and answers ?bytes= bytes.
func work(w http.ResponseWriter, r *http.Request) {
	ms, err1 := strconv.ParseUint(cmp.Or(r.URL.Query().Get("ms"), "5"), 10, 16)
	size, err2 := strconv.ParseUint(cmp.Or(r.URL.Query().Get("bytes"), "2"), 10, 20)
	if err1 != nil || err2 != nil {
		http.Error(w, "ms must be below 2^16, bytes below 2^20", http.StatusBadRequest)
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

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
