// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command gin is a service on gin's router that loses no request when it is replaced.
// Copy it, and put your own in place of work.
//
// It listens on $PORT (8080) and serves /livez, /readyz and /startupz on
// $PROBE_PORT (8081; the same number as PORT mounts them on gin's router).
package main

import (
	"cmp"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

func main() {
	addr, probeAddr := port("PORT", "8080"), port("PROBE_PORT", "8081")
	gin.SetMode(cmp.Or(os.Getenv(gin.EnvGinMode), gin.ReleaseMode))
	r := gin.New()
	r.Use(gin.Recovery())
	r.Any("/work", work)
	srv := &http.Server{Addr: addr, Handler: r, ReadHeaderTimeout: 5 * time.Second}
	app := &lifecycle.App{
		Probes:     new(probes.Registry),
		ProbeAddr:  probeAddr,
		Components: []lifecycle.Component{lifecycle.HTTP("http", srv)}, // not r.Run
	}
	if probeAddr == addr {
		app.ProbeAddr = ""
		app.Probes.Mount(mount{r})
	}
	lifecycle.Main(app)
}

// A mount gives gin's router the Handle that Probes.Mount asks for.
type mount struct{ r gin.IRoutes }

func (m mount) Handle(pattern string, h http.Handler) {
	if dir, all := strings.CutSuffix(pattern, "/*"); all {
		pattern = dir + "/*check" // gin wants a name, and /livez/ is among them
	} else if strings.HasSuffix(pattern, "/") {
		return
	}
	m.r.Any(pattern, gin.WrapH(h))
}

// work waits ?ms= milliseconds and answers.
func work(c *gin.Context) {
	ms, err := strconv.ParseUint(c.DefaultQuery("ms", "5"), 10, 31)
	if err != nil {
		c.String(http.StatusBadRequest, "ms must be a number below 2^31")
		return
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		c.String(http.StatusOK, "ok")
	case <-c.Request.Context().Done(): // the client has gone, or the grace period is nearly over
		c.Header("Retry-After", "1")
		c.Status(http.StatusServiceUnavailable)
	}
}

func port(name, def string) string { return ":" + cmp.Or(os.Getenv(name), def) }
