// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command websocket is a service with a WebSocket whose clients are told to go,
// each at an instant of its own, before it is replaced. Copy it, and put your own
// in place of echo and work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on
// $PROBE_PORT (8081; the same number as PORT mounts them on the main router).
package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	mux := http.NewServeMux()
	mux.HandleFunc("/work", work)
	mux.HandleFunc("/echo", echo)
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

// echo sends every message back. Once told to go it says farewell after the next
// echo, when a client that waits for its answers has nothing on its way. What does
// cross a farewell may not be answered any more (RFC 6455, section 5.5.1); it has
// not been looked at either, so the client can send it again elsewhere.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	told, over := drain.Draining(r.Context()), make(chan struct{})
	var busy sync.Mutex // held while a message is under way
	var group sync.WaitGroup
	defer group.Wait()
	defer c.CloseNow()
	defer close(over)
	group.Go(func() { // for a client that is silent
		select {
		case <-told:
		case <-over:
			return
		}
		select {
		case <-time.After(time.Second):
			busy.Lock()
			defer busy.Unlock()
			c.Close(websocket.StatusGoingAway, "connect again")
		case <-over:
		}
	})
	ctx := context.Background() // the end of r's would break the connection, without a farewell
	for {
		typ, in, err := c.Reader(ctx)
		if err != nil {
			return // the client has gone, or has answered the farewell
		}
		busy.Lock()
		if message, err := io.ReadAll(in); err == nil {
			c.Write(ctx, typ, message) // if this fails, so does the next Reader
		}
		busy.Unlock()
		select {
		case <-told:
			c.Close(websocket.StatusGoingAway, "connect again")
		default:
		}
	}
}
