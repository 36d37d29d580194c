// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/lameduck-go/lameduck/drain"
)

// A long poll that has nothing to say yet answers when its client is told to go, and
// the client asks another server.
func ExampleDraining() {
	waits := make(chan struct{})
	events := make(chan string)
	answer := drainWhile(waits, func(w http.ResponseWriter, r *http.Request) {
		close(waits)
		select {
		case e := <-events:
			io.WriteString(w, e)
		case <-drain.Draining(r.Context()):
			io.WriteString(w, "nothing new")
		}
	})
	fmt.Println(answer)
	// Output: nothing new
}

// A handler that knows nothing of draining, and ends with its context.
func ExampleLongLived() {
	waits := make(chan struct{})
	follow := func(w http.ResponseWriter, r *http.Request) {
		close(waits)
		<-r.Context().Done()
		fmt.Fprint(w, context.Cause(r.Context()))
	}
	fmt.Println(drainWhile(waits, drain.LongLived(http.HandlerFunc(follow)).ServeHTTP))
	// Output: drain: draining
}

// drainWhile serves h, asks it, drains the server once the handler waits, and returns
// what it has answered.
func drainWhile(waits <-chan struct{}, h http.HandlerFunc) string {
	l, err := drain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	srv := &drain.Server{HTTP: &http.Server{Handler: h}, Floor: -1, Quiet: -1}
	go srv.Serve(l)
	answer := make(chan string)
	go func() { answer <- ask(l.Addr()) }()
	<-waits
	drained := make(chan error)
	go func() {
		_, err := srv.Drain(context.Background())
		drained <- err
	}()
	said := <-answer
	if err := <-drained; err != nil {
		return err.Error()
	}
	return said
}

// ask returns the body of an answer.
func ask(addr net.Addr) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr.String())
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// Probes do not count as traffic, whoever asks and wherever.
func ExampleIsProbe() {
	r := httptest.NewRequest("GET", "/orders", nil)
	fmt.Println(drain.IsProbe(r))
	r.Header.Set("User-Agent", "kube-probe/1.37")
	fmt.Println(drain.IsProbe(r), drain.IsProbe(httptest.NewRequest("GET", "/readyz", nil)))
	// Output:
	// false
	// true true
}

// What had to be ended by force is named.
func ExampleReport() {
	never, waits := make(chan struct{}), make(chan struct{})
	defer close(never)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /exports/{id}", func(http.ResponseWriter, *http.Request) { close(waits); <-never })
	srv := &drain.Server{HTTP: &http.Server{Handler: mux}}
	go srv.Serve(l)
	go http.Get("http://" + l.Addr().String() + "/exports/7")
	<-waits

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	report, err := srv.Drain(ctx)
	fmt.Println(errors.Is(err, drain.ErrCut), len(report.Cut))
	for _, line := range report.Cut {
		what, _, _ := strings.Cut(line, " (running for more than")
		fmt.Println(what)
	}
	// Output:
	// true 1
	// GET /exports/7 by route GET /exports/{id}
}

// The phases of a drain, for metrics.
func ExamplePhaseReport() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &drain.Server{
		HTTP:  &http.Server{Handler: http.NotFoundHandler()},
		Floor: 300 * time.Millisecond,
		Quiet: -1,
	}
	go srv.Serve(l)
	ask(l.Addr())
	report, err := srv.Drain(context.Background())
	fmt.Println("floor passed:", report.Accept.Took >= srv.Floor)
	fmt.Println("all of it:", report.Total().Took >= report.Accept.Took, report.Total().Requests, err)
	// Output:
	// floor passed: true
	// all of it: true 0 <nil>
}

// What is open now, for metrics.
func ExampleStats() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	waits, release := make(chan struct{}), make(chan struct{})
	srv := &drain.Server{Floor: -1, HTTP: &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(waits); <-release }),
	}}
	go srv.Serve(l)
	go ask(l.Addr())
	<-waits
	s := srv.Stats()
	fmt.Println(s.Open, "connections:", s.New, "new,", s.Active, "active,", s.Idle, "idle,", s.Hijacked, "hijacked")
	fmt.Println(s.InFlight, "request in flight")
	close(release)
	if _, err := srv.Drain(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 connections: 0 new, 1 active, 0 idle, 0 hijacked
	// 1 request in flight
}

// A quietGRPC serves nobody.
type quietGRPC struct{ serves, stopped chan struct{} }

func (g quietGRPC) Serve(l net.Listener) error { close(g.serves); <-g.stopped; return nil }
func (g quietGRPC) GracefulStop()              { fmt.Println("GracefulStop"); close(g.stopped) }
func (g quietGRPC) Stop()                      { fmt.Println("Stop") }

// A *grpc.Server is one, or what is around it.
func ExampleGRPCServer() {
	l, err := drain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	grpc := quietGRPC{make(chan struct{}), make(chan struct{})} // grpc.NewServer(...)
	server := &drain.Server{GRPC: grpc, Floor: -1}
	go server.Serve(l)
	<-grpc.serves
	report, err := server.Drain(context.Background())
	fmt.Println("cut:", len(report.Cut), "error:", err)
	// Output:
	// GracefulStop
	// cut: 0 error: <nil>
}
