// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package checks_test

import (
	"context"
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
