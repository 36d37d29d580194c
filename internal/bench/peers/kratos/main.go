// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command kratos serves with github.com/go-kratos/kratos.
package main

import (
	"log"

	"github.com/go-kratos/kratos/v2"
	"github.com/go-kratos/kratos/v2/transport/http"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
)

func main() {
	work.Ready()
	srv := http.NewServer(http.Address(work.Addr()))
	srv.HandlePrefix("/", work.Handler())
	if err := kratos.New(kratos.Name("work"), kratos.Server(srv)).Run(); err != nil {
		log.Fatal(err)
	}
}
