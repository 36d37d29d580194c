// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// What the example takes from golang.org/x/sys/windows/svc, under its names.
type (
	Cmd           uint32
	State         uint32
	ChangeRequest struct{ Cmd Cmd }
	Status        struct {
		State    State
		WaitHint uint32 // in milliseconds
	}
)

const (
	Stop         Cmd   = 1 // SERVICE_CONTROL_STOP
	Shutdown     Cmd   = 5 // SERVICE_CONTROL_SHUTDOWN
	StartPending State = 2 // SERVICE_START_PENDING
	StopPending  State = 3 // SERVICE_STOP_PENDING
	Running      State = 4 // SERVICE_RUNNING
)

// A service is a svc.Handler.
type service struct{ app *lifecycle.App }

// Execute is called by svc.Run, and the service has stopped when it returns.
func (s service) Execute(_ []string, requests <-chan ChangeRequest, status chan<- Status) (specific bool, code uint32) {
	started, ended := make(chan bool, 1), make(chan error, 1)
	s.app.Observers = append(s.app.Observers, func(e lifecycle.Event) {
		if e.Instant == "Started" {
			started <- true
		}
	})
	status <- Status{State: StartPending}
	go func() { ended <- s.app.Run(context.Background()) }()
	for {
		select {
		case <-started:
			status <- Status{State: Running}
		case r := <-requests:
			switch r.Cmd {
			case Stop, Shutdown:
				s.app.Shutdown(fmt.Sprintf("service control %d", r.Cmd))
				status <- Status{State: StopPending, WaitHint: uint32(s.app.GracePeriod.Milliseconds())}
			}
		case err := <-ended:
			return err != nil, uint32(lifecycle.ExitCode(err))
		}
	}
}

// A Windows service is told to stop by its control handler and not by a signal: the
// handler calls Shutdown, and returns what Run does. The types of the handler are those
// of golang.org/x/sys/windows/svc, whose Run calls it.
func ExampleApp_Shutdown_windowsService() {
	app := &lifecycle.App{
		Logger:      slog.New(slog.DiscardHandler),
		GracePeriod: 20 * time.Second, // what the service manager waits at a shutdown, by WaitToKillServiceTimeout
		Components: []lifecycle.Component{
			{Name: "db", Stop: func(context.Context) error { fmt.Println("db stopped"); return nil }},
		},
	}
	// The service manager.
	requests, status := make(chan ChangeRequest), make(chan Status)
	go func() {
		for s := range status {
			if s.State == Running {
				requests <- ChangeRequest{Cmd: Stop}
			}
		}
	}()
	fmt.Println(service{app}.Execute(nil, requests, status))
	close(status)
	fmt.Println(app.Report().Reason)
	// Output:
	// db stopped
	// false 0
	// service control 1
}
