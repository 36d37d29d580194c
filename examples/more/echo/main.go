// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command echo is a service on echo's router that loses no request when it is
// replaced. Copy it, and put your own in place of work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on
// $PROBE_PORT (8081; the same number as PORT mounts them on echo's router).
package main

import (
	"cmp"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	e := echo.New()
	e.Use(middleware.Recover())
	e.Any("/work", work)
	srv := &http.Server{Addr: addr, Handler: e, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		Probes:     new(probes.Registry),
		ProbeAddr:  probeAddr,
		Components: []lifecycle.Component{lifecycle.HTTP("http", srv)}, // not e.Start
	}
	if probeAddr == addr {
		app.ProbeAddr = ""
		app.Probes.Mount(mount{e})
	}
	lifecycle.Main(app)
}

// A mount gives echo's router the Handle that Probes.Mount asks for.
type mount struct{ e *echo.Echo }

func (m mount) Handle(pattern string, h http.Handler) { m.e.Any(pattern, echo.WrapHandler(h)) }

// work waits ?ms= milliseconds and answers.
func work(c echo.Context) error {
	ms, err := strconv.ParseUint(cmp.Or(c.QueryParam("ms"), "5"), 10, 31)
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, "ms must be a number below 2^31")
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return c.String(http.StatusOK, "ok")
	case <-c.Request().Context().Done(): // the client has gone, or the grace period is nearly over
		c.Response().Header().Set("Retry-After", "1")
		return c.NoContent(http.StatusServiceUnavailable)
	}
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
