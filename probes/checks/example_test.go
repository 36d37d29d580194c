// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

func ExampleHTTP() {
	api := httptest.NewServer(http.NotFoundHandler())
	defer api.Close()

	check := probes.Check{Name: "api", Func: checks.HTTP(api.Client(), api.URL+"/readyz")}
	fmt.Println(check.Func(context.Background()) != nil)
	// Output: true
}

func ExampleAtLeast() {
	up := func(context.Context) error { return nil }
	down := func(context.Context) error { return errors.New("connection refused") }
	brokers := probes.Check{Name: "brokers", Func: checks.AtLeast(2, up, down, up)}
	fmt.Println(brokers.Func(context.Background()))
	// Output: <nil>
}

func ExampleLocal() {
	var registry probes.Registry
	err := errors.Join(
		registry.AddLiveness("goroutines", checks.Goroutines(100_000)),
		registry.AddReadiness(probes.Check{Name: "memory", Func: checks.Memory(0.95).Check}),
	)
	fmt.Println(err)
	// Output: <nil>
}
