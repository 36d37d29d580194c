// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

// Any client with such a Ping does: that of github.com/redis/go-redis, or the one here.
func ExampleRedis() {
	client := redis(func(context.Context) *answer { return &answer{errors.New("connection refused")} })
	check := probes.Check{Name: "cache", Func: checks.Redis(client), Optional: true}
	fmt.Println(check.Func(context.Background()))
	// Output: connection refused
}

// Any health client of gRPC does: that of google.golang.org/grpc/health/grpc_health_v1,
// or the one here.
func ExampleGRPC() {
	client := healthClient(func(_ context.Context, r *healthRequest) (*healthResponse, error) {
		return &healthResponse{status: 2}, nil
	})
	check := probes.Check{Name: "orders", Func: checks.GRPC(client, &healthRequest{service: "orders.Orders"})}
	fmt.Println(check.Func(context.Background()))
	// Output: grpc health: NOT_SERVING
}

func ExampleTCP() {
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	check := probes.Check{Name: "broker", Func: checks.TCP(broker.Addr().String())}
	fmt.Println(check.Func(context.Background()))
	broker.Close()
	fmt.Println(check.Func(context.Background()) != nil)
	// Output:
	// <nil>
	// true
}

// A certificate that nobody has renewed is seen while there is still time.
func ExampleCertificate() {
	check := probes.Check{Name: "certificate", Func: checks.Certificate("testdata/tls.crt", 7*24*time.Hour), Optional: true}
	err := check.Func(context.Background())
	fmt.Println(errors.Is(err, os.ErrNotExist)) // nor is one that is not there
	// Output: true
}

func ExampleAny() {
	up := func(context.Context) error { return nil }
	down := func(context.Context) error { return errors.New("connection refused") }
	check := probes.Check{Name: "dns", Func: checks.Any(down, up)}
	fmt.Println(check.Func(context.Background()))
	// Output: <nil>
}
