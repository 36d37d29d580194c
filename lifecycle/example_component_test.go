// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
)

// A worker stops taking work in when the shutdown begins, and finishes what it has
// taken before the database is closed.
func ExampleComponent() {
	var (
		app  lifecycle.App
		work drain.Tracker
	)
	app.Logger = slog.New(slog.DiscardHandler)
	app.Components = []lifecycle.Component{
		{
			Name:  "db",
			Start: func(context.Context) error { fmt.Println("db opened"); return nil },
			Stop:  func(context.Context) error { fmt.Println("db closed"); return nil },
		},
		{
			Name:      "worker",
			DependsOn: []string{"db"},
			Run: func(ctx context.Context) error {
				_, done, err := work.Start(ctx, "import")
				if err != nil {
					return err
				}
				defer done()
				fmt.Println("import begun")
				app.Shutdown("SIGTERM, say")
				<-work.Draining() // the work takes until just then
				fmt.Println("import finished")
				return nil
			},
			Drain: work.Drain,
		},
	}
	fmt.Println("error:", app.Run(context.Background()))
	// Output:
	// db opened
	// import begun
	// import finished
	// db closed
	// error: <nil>
}

// A server has the floor of the App and the defaults of its own, which can be set.
func ExampleHTTP() {
	web := lifecycle.HTTP("web", &http.Server{Addr: ":8080"}, "db", "cache")
	web.Server.Linger = 5 * time.Second // clients pause for longer than others
	fmt.Println(web.Name, web.DependsOn, web.Server.HTTP.Addr)
	// Output: web [db cache] :8080
}

// With a socket unit of systemd the socket is there before the program is.
func ExampleActivated() {
	web := lifecycle.HTTP("web", &http.Server{})
	web.Listen = lifecycle.Activated("web") // FileDescriptorName=web
	if _, err := web.Listen(context.Background()); err != nil {
		web.Listen = func(ctx context.Context) (net.Listener, error) { // on a developer's machine
			return drain.Listen(ctx, "tcp", "127.0.0.1:0")
		}
	}
	l, err := web.Listen(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	fmt.Println(l.Addr().Network())
	// Output: tcp
}

// Every error of a component says whose it is, and what it was doing.
func ExampleError() {
	errRoute := errors.New("no route to host")
	app := &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "db", Start: func(context.Context) error { return errRoute }},
		},
	}
	err := app.Run(context.Background())
	fmt.Println(err)
	if e, ok := errors.AsType[*lifecycle.Error](err); ok {
		fmt.Println(e.Component, e.Op, errors.Is(e.Err, errRoute))
	}
	fmt.Println(errors.Is(err, lifecycle.ErrStart), lifecycle.ExitCode(err))
	// Output:
	// lifecycle: start failed: start db: no route to host
	// db start true
	// true 3
}

// What Main leaves the process with, for those who call Run themselves.
func ExampleExitCode() {
	run := func(c lifecycle.Component) int {
		app := &lifecycle.App{Logger: slog.New(slog.DiscardHandler), Components: []lifecycle.Component{c}}
		return lifecycle.ExitCode(app.Run(context.Background()))
	}
	broken := func(context.Context) error { return errors.New("broken") }
	fmt.Println(run(lifecycle.Component{Name: "job", Run: func(context.Context) error { return nil }}))
	fmt.Println(run(lifecycle.Component{Name: "job", Run: broken}))
	fmt.Println(run(lifecycle.Component{Name: "job", DependsOn: []string{"nobody"}}))
	fmt.Println(run(lifecycle.Component{Name: "job", Start: broken}))
	// Output:
	// 0
	// 1
	// 2
	// 3
}
