// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// The report says why the process has stopped, and with what.
func ExampleReport() {
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "job", DependsOn: []string{"db"}, Run: func(context.Context) error { return errors.New("out of paper") }},
			{Name: "db", Stop: func(context.Context) error { return errors.New("not flushed") }},
		},
	}
	app.Run(context.Background())
	report := app.Report() // as one line: report.String(), or as JSON
	fmt.Println(report.Reason)
	fmt.Println("exit status", report.ExitStatus)
	for _, e := range report.Errors {
		fmt.Println(e)
	}
	// Output:
	// run job: out of paper
	// exit status 1
	// run job: out of paper
	// stop db: not flushed
}

// A stop that hangs is left behind at its share of the time, and what it depends on is
// stopped all the same.
func ExampleComponentReport() {
	never := make(chan struct{})
	defer close(never)
	app := &lifecycle.App{
		Logger:      slog.New(slog.DiscardHandler),
		GracePeriod: 4 * time.Second, // to make it a short example
		Components: []lifecycle.Component{
			{
				Name:      "job",
				DependsOn: []string{"db"},
				Run:       func(context.Context) error { return nil },
				Stop:      func(context.Context) error { <-never; return nil },
			},
			{Name: "db", Stop: func(context.Context) error { return nil }},
		},
	}
	err := app.Run(context.Background())
	fmt.Println(err, errors.Is(err, lifecycle.ErrDeadline))
	for _, c := range app.Report().Components {
		fmt.Println(c.Name, c.Fate)
		if strings.Contains(c.Stacks, "ExampleComponentReport") {
			fmt.Println("  and hangs in this example")
		}
	}
	// Output:
	// stop job: lifecycle: not done by its deadline true
	// job left behind
	//   and hangs in this example
	// db stopped
}

// How long each component has taken, and what has become of the clients of a server.
func ExampleReport_Requests() {
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Floor:  200 * time.Millisecond,
		Components: []lifecycle.Component{
			lifecycle.HTTP("web", &http.Server{Addr: "127.0.0.1:0"}, "db"),
			{Name: "db", Stop: func(context.Context) error { return nil }},
			{Name: "job", DependsOn: []string{"web"}, Run: func(context.Context) error { return nil }},
		},
	}
	app.Run(context.Background())
	r := app.Report()
	for _, c := range r.Components {
		if c.Drained != nil {
			fmt.Println(c.Name, "drained, for its floor at least:", c.Drain >= app.Floor, "and cut:", len(c.Drained.Cut))
		}
		if c.Start > r.Up || c.Stop > r.Took {
			fmt.Println(c.Name, "took longer than everything")
		}
	}
	served, told, cut := r.Requests()
	fmt.Println("on the way down", served, "requests were served,", told, "clients told,", cut, "cut")
	fmt.Println("in time:", r.Took <= r.Plan.Deadline(), "left running:", len(r.Pending))
	// Output:
	// web drained, for its floor at least: true and cut: 0
	// on the way down 0 requests were served, 0 clients told, 0 cut
	// in time: true left running: 0
}

// Each phase that is over, against the time by which it had to be.
func ExamplePhaseReport() {
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Floor:  -1,
		Components: []lifecycle.Component{
			lifecycle.HTTP("web", &http.Server{Addr: "127.0.0.1:0"}),
			{Name: "job", DependsOn: []string{"web"}, Run: func(context.Context) error { return nil }},
		},
	}
	app.Run(context.Background())
	for _, p := range app.Report().Phases {
		fmt.Println(p.Name, "by", p.By, p.Ended <= p.By && p.Took <= p.Ended)
	}
	// Output:
	// accept window by 11.5s true
	// drain by 23s true
	// components by 28s true
	// flush by 29s true
	// exit by 29.5s true
}

// Components of one layer start and stop side by side.
func ExamplePlan() {
	app := &lifecycle.App{
		GracePeriod: 2 * lifecycle.DefaultGracePeriod, // terminationGracePeriodSeconds: 60
		PreStop:     10 * time.Second,                 // a hook that sleeps, in the deployment
		Reserve:     2 * lifecycle.DefaultReserve,     // for exporters that take their time
		Components: []lifecycle.Component{
			{Name: "orders", DependsOn: []string{"db", "cache"}},
			{Name: "db"},
			{Name: "cache"},
		},
	}
	plan, err := app.Plan()
	fmt.Println(plan.Layers, err)
	fmt.Println(plan.GracePeriod, "-", plan.PreStop, "-", plan.Reserve, "is", plan.Deadline(), "after the signal")
	// Output:
	// [[db cache] [orders]] <nil>
	// 1m0s - 10s - 4s is 46s after the signal
}

// What a phase has for its own, and when it is over at the latest.
func ExamplePlannedPhase() {
	app := &lifecycle.App{
		Floor:      5 * time.Second,
		Components: []lifecycle.Component{lifecycle.HTTP("web", &http.Server{Addr: ":8080"})},
	}
	plan, err := app.Plan()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range plan.Phases {
		fmt.Printf("%s: at least %v, by %v\n", p.Name, p.Least, p.By)
	}
	// Output:
	// accept window: at least 5s, by 11.5s
	// drain: at least 3s, by 23s
	// components: at least 5s, by 28s
	// flush: at least 1s, by 29s
	// exit: at least 500ms, by 29.5s
}
