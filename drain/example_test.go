// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A server outside package lifecycle: serve, wait for a reason to stop, drain.
func ExampleServer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &drain.Server{
		HTTP: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
		})},
		Floor: -1,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	report, err := srv.Drain(ctx)
	fmt.Println("quiet:", report.Quiet, "cut:", len(report.Cut), "error:", err)
	fmt.Println(<-served)
	// Output:
	// quiet: true cut: 0 error: <nil>
	// http: Server closed
}
