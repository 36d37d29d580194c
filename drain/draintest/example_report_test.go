// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/drain/draintest"
)

// A server that speaks HTTP/2 in the clear, under clients that have ten requests under
// way on each connection.
func ExampleConfig() {
	report, err := draintest.Roll(context.Background(), draintest.Config{
		Serve: func(ctx context.Context, l net.Listener) error { // or Command: a program, ended by SIGTERM
			srv := &http.Server{Handler: http.HandlerFunc(work), Protocols: new(http.Protocols)}
			srv.Protocols.SetUnencryptedHTTP2(true)
			s := &drain.Server{HTTP: srv, Floor: time.Second}
			go s.Serve(l)
			<-ctx.Done()
			_, err := s.Drain(context.Background())
			return err
		},
		Propagation: 300 * time.Millisecond,
		Settle:      100 * time.Millisecond,
		Kinds:       []draintest.Kind{{Name: "upstream", Proto: "h2c", Streams: 10}},
	})
	fmt.Println(len(report.Exits), "termination,", report.Lost(), "lost", err)
	// Output: 1 termination, 0 lost <nil>
}

// Losses are told apart by their cause.
func ExampleKindReport() {
	k := draintest.KindReport{Kind: "kept", Sent: 1000, OK: 995, Reset: 1, Closed: 4, FirstLoss: io.EOF}
	fmt.Println("lost:", k.Lost(), "the first:", k.FirstLoss)
	fmt.Println("came after the listener was closed:", k.Refused)
	fmt.Println("met a connection that the server closed:", k.Reset+k.Closed+k.GoAway)
	fmt.Println("got no answer, or a part of one:", k.Timeout+k.Truncated)
	fmt.Println("were answered by an error:", k.Status)
	fmt.Println("what else it was, FirstLoss may say:", k.Other)
	// Output:
	// lost: 5 the first: EOF
	// came after the listener was closed: 0
	// met a connection that the server closed: 5
	// got no answer, or a part of one: 0
	// were answered by an error: 0
	// what else it was, FirstLoss may say: 0
}

// Clients that need a new connection for each request are paced, so that there are ports
// enough; those of HTTP/2 upload while they are answered.
func ExampleKind_settings() {
	kinds := []draintest.Kind{
		{Name: "cron jobs", NewConn: true, MinThink: 50 * time.Millisecond, MaxThink: 150 * time.Millisecond},
		{Name: "uploads", Proto: "h2c", Streams: 4, Streaming: true},
	}
	for _, k := range kinds {
		fmt.Printf("%s: a connection for each request: %v, parts: %v\n", k.Name, k.NewConn, k.Streaming)
	}
	// Output:
	// cron jobs: a connection for each request: true, parts: false
	// uploads: a connection for each request: false, parts: true
}

// Two rolls, one beside the other, are one report.
func ExampleReport() {
	first := &draintest.Report{
		Kinds: []draintest.KindReport{{Kind: "kept", Sent: 1000, OK: 1000, Dials: 8}},
		Exits: []time.Duration{2 * time.Second},
	}
	second := &draintest.Report{
		Kinds: []draintest.KindReport{{Kind: "kept", Sent: 900, OK: 898, Reset: 2, Dials: 9}},
		Exits: []time.Duration{3 * time.Second},
	}
	first.Add(second)
	median, worst := first.Exit()
	fmt.Println(first.Lost(), "of", first.Total().Sent, "lost; exit", median, worst)
	// Output: 2 of 1900 lost; exit 2.5s 3s
}
