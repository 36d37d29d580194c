// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// A store is a dependency of the service.
type store struct{}

func (*store) Open(context.Context) error                    { return nil }
func (*store) Close(context.Context) error                   { return nil }
func (*store) Ping(context.Context) error                    { return nil }
func (*store) orders(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "none") }

// The whole main of a service with a dependency and a probe listener.
func ExampleMain() {
	db := &store{}
	mux := http.NewServeMux()
	mux.HandleFunc("/orders", db.orders)
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: ":8081", // /livez, /readyz, /startupz
		Components: []lifecycle.Component{
			{Name: "db", Start: db.Open, Stop: db.Close, Ready: db.Ping},
			lifecycle.HTTP("http", &http.Server{Addr: ":8080", Handler: mux}, "db"),
		},
	})
}

// Components are declared in any order; what they depend on decides. Here the
// worker ends by itself, and that begins the shutdown.
func ExampleApp_Run() {
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{
				Name:      "worker",
				DependsOn: []string{"db"},
				Run:       func(context.Context) error { fmt.Println("worker runs"); return nil },
			},
			{
				Name:  "db",
				Start: func(context.Context) error { fmt.Println("db opens"); return nil },
				Stop:  func(context.Context) error { fmt.Println("db closes"); return nil },
			},
		},
	}
	if err := app.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// db opens
	// worker runs
	// db closes
}

// What does not fit the grace period is an error before anything starts.
func ExampleApp_Run_budget() {
	app := &lifecycle.App{
		GracePeriod: 10 * time.Second,
		Floor:       8 * time.Second,
		Components:  []lifecycle.Component{lifecycle.HTTP("web", &http.Server{Addr: ":8080"})},
	}
	err := app.Run(context.Background())
	fmt.Println(err)
	fmt.Println(errors.Is(err, lifecycle.ErrConfig), lifecycle.ExitCode(err))
	// Output:
	// lifecycle: invalid configuration: component "web": the grace period of 10s is too short: pre-stop hook 0s + floor 8s + finishing requests 1.5s + stopping components 2s + reserve 2s = 13.5s
	// true 2
}

// The plan says before anything runs what there is time for.
func ExampleApp_Plan() {
	nothing := func(context.Context) error { return nil }
	app := &lifecycle.App{
		Floor: 5 * time.Second,
		Components: []lifecycle.Component{
			lifecycle.HTTP("web", &http.Server{Addr: ":8080"}, "orders", "users"),
			{Name: "orders", DependsOn: []string{"db"}, Run: nothing},
			{Name: "users", DependsOn: []string{"db"}, Run: nothing},
			{Name: "db", Stop: nothing},
		},
	}
	plan, err := app.Plan()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(plan)
	// Output:
	// grace period 30s - pre-stop hook 0s - reserve 2s = 28s from the signal to the deadline
	// accept window  at least 5s     ends by 11.5s
	// drain          at least 3s     ends by 23s
	// components     at least 5s     ends by 28s
	// flush          at least 1s     ends by 29s
	// exit           at least 500ms  ends by 29.5s
	// start: db | orders, users | web
	// stop:  web | orders, users | db
}

// An observer is a plain function: metrics of any kind are a few lines. It is told in a
// goroutine of its own, so it may take its time.
func ExampleEvent() {
	stops := expvar.NewMap("component_stop_seconds")
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "job", DependsOn: []string{"db"}, Run: func(context.Context) error { return nil }},
			{Name: "db"},
		},
		Observers: []func(lifecycle.Event){func(e lifecycle.Event) {
			switch e.Instant {
			case "ComponentStopped":
				stops.AddFloat(e.Component, e.Took.Seconds())
				fmt.Println("stopped:", e.Component)
			case "Exited":
				fmt.Println(e.Report.Reason, e.Report.ExitStatus)
			}
		}},
	}
	app.Run(context.Background())
	// Output:
	// stopped: job
	// stopped: db
	// component job ended by itself 0
}
