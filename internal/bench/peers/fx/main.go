// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command fx serves with go.uber.org/fx, as its tutorial does.
package main

import (
	"context"
	"net"
	"net/http"

	"go.uber.org/fx"

	"github.com/lameduck-go/lameduck/internal/bench/peers/work"
)

func main() {
	work.Ready()
	fx.New(
		fx.Provide(newServer),
		fx.Invoke(func(*http.Server) {}),
	).Run()
}

func newServer(lc fx.Lifecycle, down fx.Shutdowner) *http.Server {
	srv := &http.Server{Addr: work.Addr(), Handler: work.Handler()}
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			l, err := net.Listen("tcp", srv.Addr)
			if err != nil {
				return err
			}
			go func() {
				if srv.Serve(l) != http.ErrServerClosed {
					down.Shutdown(fx.ExitCode(1))
				}
			}()
			return nil
		},
		OnStop: srv.Shutdown,
	})
	return srv
}
