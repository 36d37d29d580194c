// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command sse is a service with server-sent events and a long poll whose clients
// are told to go, each at an instant of its own, before it is replaced. Copy it,
// and put your own in place of events, poll and work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on
// $PROBE_PORT (8081; the same number as PORT mounts them on the main router).
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work)
	mux.Handle("/events", drain.LongLived(http.HandlerFunc(events)))
	mux.Handle("/poll", drain.LongLived(http.HandlerFunc(poll)))
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		Probes:     new(probes.Registry),
		ProbeAddr:  probeAddr,
		Components: []lifecycle.Component{lifecycle.HTTP("http", srv)},
	}
	if probeAddr == addr {
		app.ProbeAddr = ""
		app.Probes.Mount(mux)
	}
	lifecycle.Main(app)
}

// events sends one event each 100 ms, from where the client has left off. The
// last thing it sends is when the client is to come back.
func events(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 63) // 0 if it is new
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		id++
		fmt.Fprintf(w, "id: %d\ndata: %s\n\n", id, time.Now().Format(time.RFC3339Nano))
		out.Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done(): // the client is told to go, or has gone
			fmt.Fprint(w, "retry: 500\n\n")
			return
		}
	}
}

// poll waits ?wait= for news, of which there are none.
func poll(w http.ResponseWriter, r *http.Request) {
	wait, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("wait"), "30s"))
	if err != nil {
		http.Error(w, "wait must be a duration such as 30s", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(wait):
	case <-r.Context().Done(): // told to go: the next poll is for another server
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(http.StatusNoContent)
}
