// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/lameduck-go/lameduck/probes"
	"github.com/lameduck-go/lameduck/probes/checks"
)

// A database is one that is there, for database/sql.
type database struct{}

func (database) Connect(context.Context) (driver.Conn, error) { return conn{}, nil }
func (database) Driver() driver.Driver                        { return nil }

type conn struct{ driver.Conn }

func (conn) Close() error { return nil }

// A database needs nothing of this package: its PingContext is a check.
func Example_database() {
	db := sql.OpenDB(database{})
	defer db.Close()

	check := probes.Check{Name: "db", Func: db.PingContext}
	fmt.Println(check.Func(context.Background()))
	// Output: <nil>
}

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
