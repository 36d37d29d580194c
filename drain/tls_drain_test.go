// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// A haltingHello sends its first bytes, those of a client hello, in two pieces.
type haltingHello struct {
	net.Conn
	pause  time.Duration
	halted bool
}

func (c *haltingHello) Write(p []byte) (int, error) {
	if c.halted {
		return c.Conn.Write(p)
	}
	c.halted = true
	n, err := c.Conn.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	time.Sleep(c.pause)
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

// A handshake under way when the drain begins goes on in the accept window and after it,
// and so does the request that comes with it.
func TestTLSHandshakeAcrossTheDrain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		floor time.Duration
	}{{"in the accept window", 4 * time.Second}, {"once the listener is closed", -1}} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(protocol+" "+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := startTLS(t, &drain.Server{Floor: tt.floor, Quiet: -1, Spread: -1}, hasTLS(t))
					nc, err := r.l.Dial(t.Context())
					require.NoError(t, err)
					config := clientTLS()
					config.NextProtos = []string{protocol}
					tc := tls.Client(&haltingHello{Conn: nc, pause: 1500 * time.Millisecond}, config)
					done := make(chan struct{})
					go func() {
						defer close(done)
						if !assert.NoError(t, tc.HandshakeContext(t.Context())) {
							return
						}
						c := &client{t, tc, bufio.NewReader(tc)}
						if protocol == "http/1.1" {
							assert.True(t, c.get("/").Close)
							c.waitClosed(time.Now())
							return
						}
						begin := h2Preface + h2Frame{kind: h2Settings}.String()
						request := h2Frame{h2Headers, h2EndStream | h2EndHeaders, 1, getRoot}.String()
						io.WriteString(c, begin+request) // in one: no stream may follow the answer to the PING
						h := c.http2(begin)
						<-h.end
						assert.True(t, h.answered(1))
						assert.Equal(t, []uint32{highestStream, 1}, h.goAways())
					}()
					synctest.Wait() // half of the hello is there
					report, took, err := r.drain(28 * time.Second)
					<-done
					require.NoError(t, err)
					assert.EqualValues(t, 1, report.Total().Requests)
					assert.EqualValues(t, 1, report.Total().Connections)
					assert.Zero(t, report.Silent+report.Unfinished+report.GoAwayOnce)
					if tt.floor < 0 {
						want := 1500 * time.Millisecond
						if protocol == "h2" {
							want += time.Second // net/http's after its GOAWAY
						}
						assert.Equal(t, want, took)
					}
					r.nothingOpen()
				})
			})
		}
	}
}

// The config may be another one for each client, with client certificates.
func TestTLSConfigForClientGoesOnWorking(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert := certificate(t)
				leaf, err := x509.ParseCertificate(cert.Certificate[0])
				require.NoError(t, err)
				r := &rig{t: t, srv: &drain.Server{Floor: time.Second, Quiet: -1, Spread: -1}, l: memnet.Listen(), served: make(chan error, 1)}
				r.srv.HTTP = &http.Server{
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if assert.NotNil(t, r.TLS) && assert.Len(t, r.TLS.PeerCertificates, 1) {
							assert.True(t, leaf.Equal(r.TLS.PeerCertificates[0]))
						}
						assert.Equal(t, protocol, r.TLS.NegotiatedProtocol)
						assert.Equal(t, "test", r.TLS.ServerName)
						ok(w, r)
					}),
					TLSConfig: &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
						_, isOurs := hello.Conn.(interface{ NetConn() net.Conn })
						assert.True(t, isOurs, "it leads to the connection as it was accepted")
						return &tls.Config{
							Certificates: []tls.Certificate{cert},
							ClientAuth:   tls.RequireAnyClientCert,
							NextProtos:   []string{"h2", "http/1.1"},
						}, nil
					}},
				}
				go func() { r.served <- r.srv.ServeTLS(r.l, "", "") }()
				dial := func() *client {
					nc, err := r.l.Dial(t.Context())
					require.NoError(t, err)
					config := clientTLS()
					config.NextProtos = []string{protocol}
					config.Certificates = []tls.Certificate{cert}
					tc := tls.Client(nc, config)
					require.NoError(t, tc.HandshakeContext(t.Context()))
					return &client{t, tc, bufio.NewReader(tc)}
				}
				c := dial()
				if protocol == "h2" {
					h := c.http2("")
					h.get(1)
					synctest.Wait()
					assert.True(t, h.answered(1))
					time.AfterFunc(500*time.Millisecond, func() {
						h.get(3)
						<-h.end
						assert.True(t, h.answered(3))
						assert.Equal(t, []uint32{highestStream, 3}, h.goAways())
					})
				} else {
					assert.False(t, c.get("/").Close)
					time.AfterFunc(500*time.Millisecond, func() {
						assert.True(t, c.get("/").Close)
						c.waitClosed(time.Now())
					})
				}
				report, _, err := r.drain(28 * time.Second)
				require.NoError(t, err)
				assert.EqualValues(t, 1, report.Told)
				assert.Zero(t, report.GoAwayOnce)
				r.nothingOpen()
			})
		})
	}
}

// Two http.Servers may have one map of protocols, whichever of them net/http has filled
// it for.
func TestTwoServersShareTLSNextProto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := map[string]func(*http.Server, *tls.Conn, http.Handler){}
		var rigs []*rig
		for _, name := range []string{"first", "second"} {
			r := &rig{t: t, srv: &drain.Server{Spread: -1}, l: memnet.Listen(), served: make(chan error, 1)}
			r.srv.HTTP = &http.Server{
				Handler:      http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }),
				TLSConfig:    &tls.Config{Certificates: []tls.Certificate{certificate(t)}},
				TLSNextProto: shared,
				Protocols:    new(http.Protocols),
			}
			r.srv.HTTP.Protocols.SetHTTP1(true)
			r.srv.HTTP.Protocols.SetHTTP2(true)
			go func() { r.served <- r.srv.ServeTLS(r.l, "", "") }()
			synctest.Wait() // net/http writes into the map
			rigs = append(rigs, r)
		}
		for _, f := range shared {
			assert.Contains(t, runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name(), "net/http.", "the map is the caller's")
		}
		require.Contains(t, shared, "h2")
		var clients []*h2Client
		for i, r := range rigs {
			c := r.dialHTTP2TLS().http2("")
			c.mute = true
			c.get(1)
			synctest.Wait()
			require.True(t, c.answered(1))
			assert.Equal(t, []string{"first", "second"}[i], c.of(h2Data)[0].payload)
			clients = append(clients, c)
		}
		for i := len(rigs) - 1; i >= 0; i-- { // Shutdown of the first tells the clients of both
			r, c := rigs[i], clients[i]
			assert.Empty(t, c.goAways())
			time.AfterFunc(300*time.Millisecond, func() {
				assert.Equal(t, []uint32{highestStream}, c.goAways())
				c.get(3)
				synctest.Wait()
				assert.True(t, c.answered(3))
				assert.Len(t, c.goAways(), 1, "nothing is refused before the client knows")
				c.send(h2Ping, h2Ack, 0, c.of(h2Ping)[0].payload)
				c.get(5)
				synctest.Wait()
				assert.True(t, c.answered(5))
				assert.Equal(t, []uint32{highestStream, 5}, c.goAways())
			})
			report, _, err := r.drain(28 * time.Second)
			require.NoError(t, err)
			assert.EqualValues(t, 1, report.GoAway)
			assert.Zero(t, report.GoAwayOnce)
			<-c.end
			r.nothingOpen()
		}
	})
}
