// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command lameduck serves with package lifecycle.
package main

import (
	"net/http"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func main() {
	lifecycle.Main(&lifecycle.App{
		ProbeAddr: work.Probes(),
		Components: []lifecycle.Component{
			lifecycle.HTTP("http", &http.Server{Addr: work.Addr(), Handler: work.Handler()}),
		},
	})
}
