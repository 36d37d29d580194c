// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// The listener of the probes answers for metrics too, to the end, and a preStop hook that
// has the token begins the shutdown there. Here a job asks for both.
func ExampleApp() {
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Close()
	ask := func(path, token string) error {
		r, err := http.NewRequest("GET", "http://"+l.Addr().String()+path, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		fmt.Println(path, resp.Status)
		return resp.Body.Close()
	}
	admin := http.NewServeMux()
	admin.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "orders 7") })
	app := &lifecycle.App{
		ProbeAddr:    l.Addr().String(),
		Admin:        admin,
		PreStopToken: "secret", // of a Secret, in the environment
		Logger:       slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{{Name: "job", Run: func(context.Context) error {
			return errors.Join(ask("/metrics", ""), ask("/prestop", "guessed"), ask("/prestop", "secret"))
		}}},
	}
	fmt.Println("error:", app.Run(context.Background()))
	// Output:
	// /metrics 200 OK
	// /prestop 403 Forbidden
	// /prestop 200 OK
	// error: <nil>
}

// An idleGRPC stands for a *grpc.Server.
type idleGRPC struct{ stopped chan struct{} }

func (g idleGRPC) Serve(net.Listener) error { <-g.stopped; return nil }
func (g idleGRPC) GracefulStop()            { close(g.stopped) }
func (g idleGRPC) Stop()                    {}

// A server of gRPC is one like any other. What an observer is told on the way down says
// why, what has failed, and what became of the clients of each server.
func ExampleEvent_shutdown() {
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Floor:  -1,
		Components: []lifecycle.Component{
			{
				Name:   "grpc",
				Server: &drain.Server{GRPC: idleGRPC{make(chan struct{})}}, // grpc.NewServer(...)
				Addr:   "127.0.0.1:0",
			},
			{
				Name:      "job",
				DependsOn: []string{"grpc"},
				Run:       func(context.Context) error { return nil },
				Stop:      func(context.Context) error { return errors.New("no space left") },
			},
		},
		Observers: []func(lifecycle.Event){func(e lifecycle.Event) {
			switch e.Instant {
			case "ShutdownInitiated":
				fmt.Println("because", e.Reason)
			case "Drained":
				fmt.Println("cut:", len(e.Drain.Cut))
			case "ComponentFailed":
				fmt.Println("failed:", e.Err)
			}
		}},
	}
	app.Run(context.Background())
	// Output:
	// because component job ended by itself
	// cut: 0
	// failed: stop job: no space left
}
