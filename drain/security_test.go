// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// What a client puts into its path stays one word of one line of the report.
func TestSecurityCutLinesAreNotForged(t *testing.T) {
	for path, want := range map[string]string{
		"/a%0ALEVEL=ERROR%20forged":             "/a%0ALEVEL=ERROR%20forged",
		"/a%1b%5B31mred":                        "/a%1B%5B31mred",
		"/a%20(running%20for%201s);%20GET%20/b": "/a%20%28running%20for%201s%29;%20GET%20/b",
		"/%ff%e2%80%a8":                         "/%FF%E2%80%A8",
		"/" + strings.Repeat("%0a", 1<<10):      "/" + strings.Repeat("%0A", 255),
		"/plain/%C3%A9":                         "/plain/%C3%A9",
		"/work?token=hunter2":                   "/work",
	} {
		synctest.Test(t, func(t *testing.T) {
			over := make(chan struct{})
			defer close(over)
			r := start(t, &drain.Server{}, func(http.ResponseWriter, *http.Request) { <-over })
			c := r.dial()
			c.send(path)
			synctest.Wait()
			c.discard()
			report, _, err := r.drain(8 * time.Second)
			assert.ErrorIs(t, err, drain.ErrCut)
			if assert.Len(t, report.Cut, 1) {
				method, rest, _ := strings.Cut(report.Cut[0], " ")
				got, rest, _ := strings.Cut(rest, " ")
				assert.Equal(t, []string{"GET", want}, []string{method, got})
				assert.Regexp(t, `^\(running for more than [0-9.]+s\)$`, rest)
			}
		})
	}
}

// Frames that ask for nothing keep the connection of a client that was told to go for
// some seconds, however many it sends, though it confirms nothing. That of a PING over
// a socket is TestHTTP2ClientThatIgnoresTheEndHoldsNothing's.
func TestSecurityFramesDoNotHoldTheDrain(t *testing.T) {
	for name, frame := range map[string]h2Frame{
		"PING":          {kind: h2Ping, payload: "stillon!"},
		"SETTINGS":      {kind: h2Settings},
		"WINDOW_UPDATE": {kind: h2WindowUpdate, payload: "\x00\x00\x00\x01"},
		"PRIORITY":      {kind: 0x2, stream: 1, payload: "\x00\x00\x00\x00\x00"},
		"unknown":       {kind: 0xbb},
	} {
		t.Run(name, func(t *testing.T) {
			bothHTTP2(t, func(t *testing.T, start func(*drain.Server, http.HandlerFunc) *rig, dial func(*rig) *client) {
				r := start(&drain.Server{Spread: -1}, ok)
				c := dial(r).http2("")
				c.get(1)
				synctest.Wait()
				c.mute = true // nor does it confirm that it knows
				var flood sync.WaitGroup
				flood.Go(func() {
					for {
						select {
						case <-c.end:
							return
						case <-time.After(100 * time.Millisecond):
							c.send(frame.kind, frame.flags, frame.stream, frame.payload)
						}
					}
				})
				_, took, err := r.drain(time.Hour)
				assert.NoError(t, err)
				assert.Less(t, took, 20*time.Second)
				flood.Wait()
				r.nothingOpen()
			})
		})
	}
}

// Whoever goes on dialling, or claims to be a prober that is never told enough, keeps
// the accept window open until its cap, and no longer.
func TestSecurityWindowIsHeldUntilItsCap(t *testing.T) {
	for name, tt := range map[string]struct {
		srv   *drain.Server
		head  string
		until time.Duration
	}{
		"new connections":         {&drain.Server{Cap: 7 * time.Second}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 7 * time.Second},
		"the default":             {&drain.Server{}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 14 * time.Second},
		"a prober":                {&drain.Server{Cap: 7 * time.Second, FailureThreshold: 1000}, "GET /readyz HTTP/1.1\r\nHost: x\r\nUser-Agent: LB\r\n\r\n", 7 * time.Second},
		"who says he is one":      {&drain.Server{Cap: 7 * time.Second}, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.37\r\n\r\n", 0},
		"who asks for a probe":    {&drain.Server{Cap: 7 * time.Second}, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		"connections and no more": {&drain.Server{Cap: 7 * time.Second}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, tt.srv, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
				var clients sync.WaitGroup
				clients.Go(func() {
					for {
						conn, err := r.l.Dial(t.Context())
						if err != nil {
							return
						}
						clients.Go(func() {
							defer conn.Close()
							io.WriteString(conn, tt.head)
							io.Copy(io.Discard, conn)
						})
						time.Sleep(100 * time.Millisecond)
					}
				})
				time.Sleep(10 * time.Second)
				report, took, err := r.drain(28 * time.Second)
				assert.NoError(t, err)
				assert.Equal(t, tt.until, report.Accept.Took.Truncate(100*time.Millisecond))
				assert.Equal(t, tt.until == 0, report.Quiet)
				assert.Less(t, took, tt.until+5*time.Second)
				clients.Wait()
			})
		})
	}
}

// What is ambiguous in a request is read as net/http reads it, in every phase of the
// drain: a proxy in front and this server do not disagree more than without it. Once
// clients are told to go fewer requests of a connection are answered, and no others.
func TestSecurityAmbiguousRequestsAreReadAsByNetHTTP(t *testing.T) {
	const post, get = "POST /a HTTP/1.1\r\nHost: x\r\n", "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, bytes := range map[string]string{
		"pipelined":                 "GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + get,
		"length and encoding":       post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
		"encoding and length":       post + "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n" + get,
		"two lengths":               post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n01234" + get,
		"the same length twice":     post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n01234" + get,
		"two encodings":             post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
		"an encoding with a space":  post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + get,
		"an encoding with a tab":    post + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + get,
		"a folded header":           post + "A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + get,
		"line feeds alone":          "POST /a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n0\n\n" + get,
		"an extension of a chunk":   post + "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n" + get,
		"a chunk that is too long":  post + "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n" + get,
		"a trailer":                 post + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n" + get,
		"a GET with a body":         "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n01234" + get,
		"a request as a body":       post + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(get)) + get + get,
		"Connection: close between": "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get,
		"HTTP/1.0 with an encoding": "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
	} {
		want := readByNetHTTP(t, bytes)
		for phase, srv := range map[string]*drain.Server{
			"serving":       nil,
			"accept window": {Floor: 10 * time.Second},
			"linger":        {Floor: -1, Quiet: -1, Linger: 10 * time.Second},
		} {
			t.Run(name+"/"+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got := readWhileDraining(t, srv, bytes)
					if phase == "serving" {
						assert.Equal(t, want, got)
						return
					}
					for i, got := range got {
						assert.LessOrEqual(t, len(got), len(want[i]))
						assert.Equal(t, want[i][:min(len(got), len(want[i]))], got)
					}
					assert.NotEmpty(t, got[1], "all but the first may find the connection told to go")
				})
			})
		}
	}
}

// A reader notes what a handler reads of each request.
type reader struct {
	mu  sync.Mutex
	got []string
}

func (r *reader) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%s %s %q %v", req.Method, req.URL.Path, body, err))
}

// says sends bytes, and returns the statuses of the answers. Nothing more is sent.
func says(t *testing.T, conn net.Conn, bytes string) (statuses []string) {
	go io.WriteString(conn, bytes)
	br := bufio.NewReader(conn)
	for {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return statuses
		}
		io.Copy(io.Discard, resp.Body)
		statuses = append(statuses, resp.Status)
	}
}

// readByNetHTTP returns what bare net/http makes of bytes: what its handler reads, and
// what is answered.
func readByNetHTTP(t *testing.T, bytes string) (got [2][]string) {
	synctest.Test(t, func(t *testing.T) {
		var h reader
		srv, l := &http.Server{Handler: &h}, memnet.Listen()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		conn, err := l.Dial(t.Context())
		require.NoError(t, err)
		statuses := says(t, conn, bytes)
		conn.Close()
		srv.Close()
		<-served
		synctest.Wait()
		got = [2][]string{h.got, statuses}
	})
	return got
}

// readWhileDraining returns what srv makes of bytes half a second after Drain's call,
// or of one that does not drain if it is nil. Its connection is there before.
func readWhileDraining(t *testing.T, srv *drain.Server, bytes string) [2][]string {
	var h reader
	drains := srv != nil
	if !drains {
		srv = new(drain.Server)
	}
	r := start(t, srv, h.ServeHTTP)
	c := r.dial()
	if drains {
		c.get("/before")
		h.got = nil
	}
	drained := make(chan struct{})
	if drains {
		go func() { defer close(drained); r.drain(28 * time.Second) }()
		time.Sleep(500 * time.Millisecond)
	}
	statuses := says(t, c, bytes)
	c.Close()
	if !drains {
		go func() { defer close(drained); r.drain(28 * time.Second) }()
	}
	<-drained
	return [2][]string{h.got, statuses}
}
