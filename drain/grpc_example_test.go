// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A miniGRPC stands for a *grpc.Server, so that this needs no import of it. It makes one
// call on each connection, which lasts until its client is told to go.
type miniGRPC struct{ server *drain.Server }

func (g *miniGRPC) Serve(l net.Listener) error {
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			// What an interceptor does.
			ctx, done := g.server.Call(context.Background(), nc.RemoteAddr(), "/orders.Orders/Watch")
			defer done()
			watch(ctx)
		}()
	}
}

func (g *miniGRPC) GracefulStop() {}
func (g *miniGRPC) Stop()         {}

func watch(ctx context.Context) {
	ctx, stop := drain.NotifyContext(ctx)
	defer stop()
	fmt.Println("watching")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
}

// A gRPC server outside package lifecycle. The interceptors need the Server before
// there is a gRPC server that could be put into it.
func ExampleServer_Call() {
	l, err := drain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &drain.Server{Floor: -1, Quiet: -1}
	server.GRPC = &miniGRPC{server} // grpc.NewServer(grpc.UnaryInterceptor(...), ...)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	for server.Stats().InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	report, err := server.Drain(ctx)
	fmt.Println("cut:", len(report.Cut), "error:", err)
	fmt.Println(<-served)
	// Output:
	// watching
	// drain: draining
	// cut: 0 error: <nil>
	// http: Server closed
}

// What the credentials of a gRPC server do with each connection.
func ExampleDecrypted() {
	config := &tls.Config{NextProtos: []string{"h2"}}
	serverHandshake := func(raw net.Conn) (net.Conn, error) {
		plain := tls.Server(raw, config)
		if err := plain.Handshake(); err != nil {
			return nil, err
		}
		return drain.Decrypted(raw, plain), nil
	}
	_ = serverHandshake // the method of a credentials.TransportCredentials
}

// A part of a handler that does not end by itself, while the rest goes on to its end.
func ExampleNotifyContext() {
	follow := func(ctx context.Context) string { <-ctx.Done(); return "all so far" }
	http.HandleFunc("/changes", func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := drain.NotifyContext(r.Context())
		defer stop()
		fmt.Fprintln(w, follow(ctx))
	})
}
