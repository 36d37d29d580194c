// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"
)

// naiveEnv makes the test binary one of naives, to measure against.
const naiveEnv = "LAMEDUCK_TEST_NAIVE"

// naives are the examples' services as the guides of their frameworks end them: at
// SIGTERM by what http.Server has for it.
var naives = map[string]func() http.Handler{
	"gin": func() http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Any("/work", func(c *gin.Context) { time.Sleep(naiveWork); c.String(http.StatusOK, "ok") })
		return r
	},
	"echo": func() http.Handler {
		e := echo.New()
		e.Any("/work", func(c echo.Context) error { time.Sleep(naiveWork); return c.String(http.StatusOK, "ok") })
		return e
	},
	"net/http": func() http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { time.Sleep(naiveWork); fmt.Fprint(w, "ok") })
	},
	"sse": func() http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for id := 1; r.Context().Err() == nil; id++ {
				fmt.Fprintf(w, "id: %d\ndata: x\n\n", id)
				http.NewResponseController(w).Flush()
				time.Sleep(naiveWork)
			}
		})
	},
	"websocket": func() http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			for {
				typ, message, err := c.Read(context.Background())
				if err != nil || c.Write(context.Background(), typ, message) != nil {
					return
				}
			}
		})
	},
}

const (
	naiveWork  = 5 * time.Millisecond
	naiveGrace = 2 * time.Second // for what Shutdown does not end by itself
)

func naive(name string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	go http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv := &http.Server{Handler: naives[name]()}
	go srv.Serve(l)
	if api := os.Getenv("API_URL"); api != "" { // a job, in a goroutine that nobody waits for
		go http.Post(api, "", nil)
	}
	fmt.Println("instant=Started")
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.Background(), naiveGrace)
	defer cancel()
	if err := srv.Shutdown(limit); errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("Shutdown has given up")
	}
}
