// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// TestHTTPS: a server with a certificate speaks TLS, HTTP/1.1 and HTTP/2, on a port and
// on a Unix socket, and a request that runs at the signal is answered.
func TestHTTPS(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	pair.Close() // all that is wanted of it is its certificate
	for _, network := range []string{"tcp", "unix"} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprint(network, ", HTTP/2: ", http2), func(t *testing.T) {
				t.Parallel()
				addr := freeAddr(t)
				if network == "unix" {
					addr = filepath.Join(t.TempDir(), "socket")
				}
				inHandler, release := make(chan struct{}), make(chan struct{})
				web := lifecycle.HTTP("web", &http.Server{
					Addr:      addr,
					TLSConfig: &tls.Config{Certificates: pair.TLS.Certificates},
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						close(inHandler)
						<-release
						fmt.Fprint(w, r.Proto, r.TLS != nil)
					}),
				})
				if network == "unix" {
					web.Listen = func(ctx context.Context) (net.Listener, error) { return drain.Listen(ctx, "unix", addr) }
				}
				s := lifecycletest.Start(t, &lifecycle.App{
					Logger:     slog.New(slog.DiscardHandler),
					Components: []lifecycle.Component{web},
					Observers: []func(lifecycle.Event){func(e lifecycle.Event) {
						if e.Instant == "ShutdownInitiated" {
							close(release)
						}
					}},
				})

				client := &http.Client{Transport: &http.Transport{
					TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
					ForceAttemptHTTP2: http2,
					DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, network, addr)
					},
				}}
				answer := make(chan string, 1)
				go func() {
					resp, err := client.Get("https://web/")
					if err != nil {
						answer <- err.Error()
						return
					}
					defer resp.Body.Close()
					body, _ := io.ReadAll(resp.Body)
					answer <- string(body)
				}()
				<-inHandler
				r := s.Stop("enough")
				want := "HTTP/1.1true"
				if http2 {
					want = "HTTP/2.0true"
				}
				assert.Equal(t, want, <-answer)
				client.CloseIdleConnections()
				require.NoError(t, r.Err)
				require.NotNil(t, r.Report.Components[0].Drained)
				assert.Empty(t, r.Report.Components[0].Drained.Cut)
				_, err := net.Dial(network, addr)
				assert.Error(t, err)
			})
		}
	}
}
