// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/lameduck-go/lameduck/drain"
)

// What a drain has come to, as counters and times for metrics. Here one client keeps its
// connection, and another has never sent a byte.
func ExampleReport_metrics() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	states := make(chan http.ConnState, 10)
	await := func(state http.ConnState) {
		for <-states != state {
		}
	}
	srv := &drain.Server{
		HTTP: &http.Server{
			Handler:   http.NotFoundHandler(),
			ConnState: func(_ net.Conn, s http.ConnState) { states <- s },
		},
		Floor:  -1,
		Linger: -1,
		Silent: -1,
	}
	go srv.Serve(l)
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer silent.Close()
	await(http.StateNew)
	client := &http.Client{Transport: new(http.Transport)}
	resp, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	await(http.StateIdle)

	r, err := srv.Drain(context.Background())
	fmt.Println("told to go:", r.Told, "answers,", r.GoAway, "HTTP/2 clients in time,", r.GoAwayOnce, "late")
	fmt.Println("closed:", r.Idle, "idle,", r.Silent, "silent,", r.Unfinished, "unfinished")
	fmt.Println("hijacked:", r.Hijacked, "ended,", r.HijackedCut, "cut")
	fmt.Println("requests cancelled:", r.Cancelled, "error:", err)
	sum := r.Accept.Took + r.Close.Took + r.Linger.Took + r.End.Took
	fmt.Println("new connections:", r.Total().Connections, "time is that of the phases:", r.Total().Took == sum)
	// Output:
	// told to go: 0 answers, 0 HTTP/2 clients in time, 0 late
	// closed: 1 idle, 1 silent, 0 unfinished
	// hijacked: 0 ended, 0 cut
	// requests cancelled: 0 error: <nil>
	// new connections: 0 time is that of the phases: true
}
