// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycletest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// A tb stands for the t of a test, which an example is not given.
type tb struct{ testing.TB }

var t tb

func (tb) Helper()                   {}
func (tb) Cleanup(func())            {}
func (tb) Context() context.Context  { return context.Background() }
func (tb) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (tb) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// newApp makes what main gives to lifecycle.Main.
func newApp() *lifecycle.App {
	return &lifecycle.App{
		Logger: slog.New(slog.DiscardHandler),
		Components: []lifecycle.Component{
			{Name: "web", DependsOn: []string{"db"}},
			{Name: "db", Ready: func(context.Context) error { return nil }},
		},
	}
}

// In a test of your own this is best in a bubble of testing/synctest, in fake time.
func ExampleStart() {
	s := lifecycletest.Start(t, newApp())
	s.Ready(time.Minute)
	r := s.Stop("the test is over")
	fmt.Println(r.ExitStatus, r.Order("ComponentStopped"))
	// Output: 0 [web db]
}

// Wait is for what ends by itself.
func ExampleService_Wait() {
	app := newApp()
	app.Components[0].Run = func(context.Context) error { return errors.New("broken") }
	r := lifecycletest.Start(t, app).Wait(time.Minute)
	fmt.Println(r.ExitStatus, r.Err)
	// Output: 1 run web: broken
}

func ExampleResult() {
	r := lifecycletest.Start(t, newApp()).Stop("enough")
	fmt.Println(r.Report.Reason)
	fmt.Println("started", r.Order("ComponentStarted"))
	for _, e := range r.Events {
		switch e.Instant {
		case "Started", "ShutdownInitiated", "ComponentsStopped", "Exited":
			fmt.Println(e.Instant)
		}
	}
	// Output:
	// enough
	// started [db web]
	// Started
	// ShutdownInitiated
	// ComponentsStopped
	// Exited
}

// A program in a process of its own, here this test binary.
func ExampleProcess() {
	addr := freeAddr()
	cmd := exec.Command(os.Args[0]) // exec.CommandContext(t.Context(), "./service")
	p := lifecycletest.StartProcess(t, cmd, "GRACE_PERIOD=30s", "PROBE_ADDR="+addr, programEnv+"=text")
	p.Ready("http://"+addr+"/readyz", time.Minute)
	p.Signal(syscall.SIGTERM)
	exit := p.Wait(30 * time.Second)
	fmt.Println("status", exit.Status, "in time", exit.Took < 30*time.Second)
	// Output: status 0 in time true
}

// The instants are those in the output of the program.
func ExampleExit() {
	addr := freeAddr()
	p := lifecycletest.StartProcess(t, exec.Command(os.Args[0]), "PROBE_ADDR="+addr, programEnv+"=json")
	p.Ready("http://"+addr+"/readyz", time.Minute)
	p.Signal(os.Interrupt)
	for _, instant := range p.Wait(30 * time.Second).Instants {
		fmt.Println(instant)
	}
	// Output:
	// Started
	// ShutdownInitiated
	// ComponentsStopped
	// Exited
}

// freeAddr returns an address that nobody listens on.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ExampleStartProcess() {
	_ = func(t *testing.T) { // TestSignal, in a file of your own
		p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), "./service"), "GRACE_PERIOD=10s")
		p.Ready("http://127.0.0.1:8081/readyz", 10*time.Second)
		p.Signal(syscall.SIGTERM)
		if exit := p.Wait(10 * time.Second); exit.Status != 0 {
			t.Error(exit.Status, exit.Output)
		}
	}
}
