// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/drain"
)

// What the Connection header says to the less usual requests, and whether the connection
// is then closed: "OPTIONS *" is answered by net/http itself, unless it is told not to,
// and so tells nobody.
func TestConnectionHeaderOfUnusualRequests(t *testing.T) {
	for _, tt := range []struct {
		name, request   string
		toHandler       bool   // DisableGeneralOptionsHandler
		before, while   string // what it says before the drain, and in it
		closes, closesW bool   // whether the connection ends with the answer, then and then
	}{
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n", false, "", "close", false, true},
		{"HEAD of HTTP/1.0 with keep-alive", "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "keep-alive", "close", false, true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", false, "", "close", true, true},
		{"HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "keep-alive", "close", false, true},
		{"HTTP/1.1 that closes itself", "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", false, "close", "close", true, true},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", false, "", "", false, false},
		{"OPTIONS * for the handler", "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", true, "", "close", false, true},
	} {
		for name, moment := range moments {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, &drain.Server{Floor: time.Second, Quiet: -1}, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Length", "2") // HTTP/1.0 keeps nothing alive without
						ok(w, r)
					})
					r.srv.HTTP.DisableGeneralOptionsHandler = tt.toHandler
					want, closed := tt.before, tt.closes
					if moment > 0 {
						want, closed = tt.while, tt.closesW
					}
					c := r.dial()
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
					c.answer()
					r.drainAround(moment, func() {
						fmt.Fprint(c, tt.request)
						in := textproto.NewReader(c.br) // http.ReadResponse takes the header away
						status, err := in.ReadLine()
						assert.NoError(t, err)
						assert.Contains(t, status, " 200 ")
						header, err := in.ReadMIMEHeader()
						assert.NoError(t, err)
						if !strings.HasPrefix(tt.request, "HEAD") {
							length, _ := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
							_, err = io.CopyN(io.Discard, c.br, length)
							assert.NoError(t, err)
						}
						assert.Equal(t, want, header.Get("Connection"))
						t0 := time.Now()
						after := c.waitClosed(t0)
						assert.Equal(t, closed, after == 0, "%v", after)
					})
					r.nothingOpen()
				})
			})
		}
	}
}
