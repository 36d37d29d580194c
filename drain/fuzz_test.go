// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
)

// The bits of FuzzConnection's flags.
const (
	fuzzH2C       = 1 << iota // the server also speaks unencrypted HTTP/2
	fuzzDeaf                  // the client reads nothing
	fuzzClose                 // it closes the connection when all is said
	fuzzEarly                 // it begins a second before T0, not with it
	fuzzImpatient             // idle and silent connections are given no time
	fuzzCancelled             // Drain's context ends in the middle
)

// FuzzConnection has a client send any bytes, in any pieces with any pauses, to a
// server that drains. Whatever it says, the drain ends by its deadline, net/http
// recovers no panic, and nothing is left open.
//
// Each byte of cuts says how many bytes come next, in its upper four bits, and for
// how many tenths of a second the client then pauses, in its lower four.
func FuzzConnection(f *testing.F) {
	get := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, data := range []string{
		"",
		"G",
		"\r\n",
		get,
		get + get,
		get + "GET / HT",
		get + "\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		"GET /long HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		"GET /hijack HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes",
		"GET /keep HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		"GET /readyz HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.37\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789" + get,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234",
		"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n01234",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n0",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n01234",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		"GET / HTTP/9.9\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		// Then GET / on stream 1, and its reset.
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
			"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a" +
			"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
			"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01a",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		f.Add([]byte(data), []byte{0xf0}, byte(0))
		f.Add([]byte(data), []byte{0x10, 0xf9, 0x4f}, byte(fuzzEarly|fuzzImpatient))
		f.Add([]byte(data), []byte{0xf0}, byte(fuzzH2C|fuzzClose))
		f.Add([]byte(data), []byte{0x3f}, byte(fuzzH2C|fuzzDeaf|fuzzEarly))
		f.Add([]byte(data), []byte{0x71}, byte(fuzzEarly|fuzzCancelled|fuzzClose))
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, flags byte) {
		if len(data) > 4<<10 || len(cuts) > 64 {
			t.Skip("nothing new is to be learnt from more")
		}
		synctest.Test(t, func(t *testing.T) { drainUnder(t, data, cuts, flags) })
	})
}

// drainUnder is FuzzConnection in its bubble.
func drainUnder(t *testing.T, data, cuts []byte, flags byte) {
	has := func(flag byte) bool { return flags&flag != 0 }
	var logged bytes.Buffer // a log.Logger has its own lock
	srv := &drain.Server{Floor: time.Second, HTTP: &http.Server{
		Handler:   http.HandlerFunc(fuzzHandler),
		ErrorLog:  log.New(&logged, "", 0),
		Protocols: new(http.Protocols),
	}}
	srv.HTTP.Protocols.SetHTTP1(true)
	srv.HTTP.Protocols.SetUnencryptedHTTP2(has(fuzzH2C))
	if has(fuzzImpatient) {
		srv.Quiet, srv.Linger, srv.Silent = -1, -1, -1
	}
	l := memnet.Listen()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	nc, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var client sync.WaitGroup
	if !has(fuzzDeaf) {
		client.Go(func() { io.Copy(io.Discard, nc) })
	}
	client.Go(func() {
		for i, rest := 0, data; len(rest) > 0; i++ {
			cut := byte(0xf0)
			if len(cuts) > 0 {
				cut = cuts[i%len(cuts)]
			}
			n := min(int(cut>>4)*8+1, len(rest))
			if _, err := nc.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
			time.Sleep(time.Duration(cut&0xf) * 100 * time.Millisecond)
		}
		if has(fuzzClose) {
			nc.Close()
		}
	})
	if has(fuzzEarly) {
		time.Sleep(time.Second)
	}

	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if has(fuzzCancelled) {
		time.AfterFunc(1500*time.Millisecond, cancel)
	}
	t0 := time.Now()
	report, err := srv.Drain(ctx)
	took := time.Since(t0)
	assert.LessOrEqual(t, took, limit)
	assert.Equal(t, err == nil, len(report.Cut) == 0, "an error says that something was cut, and nothing else: %v", err)
	assert.Equal(t, http.ErrServerClosed, <-served)
	// With a cancelled context Drain waits for nobody, and net/http keeps an HTTP/2
	// connection that it has sent a GOAWAY for a second longer, closed or not.
	time.Sleep(time.Second)
	synctest.Wait()
	assert.Equal(t, drain.Stats{}, srv.Stats())
	assert.LessOrEqual(t, report.Idle+report.Silent+report.Hijacked+report.HijackedCut, int64(1), "one connection, counted once")
	assert.NotContains(t, logged.String(), "panic", "but those of the handler, which are http.ErrAbortHandler")
	nc.Close()
	client.Wait()
}

// fuzzHandler does what handlers do, by the first letters of the path.
func fuzzHandler(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/unread" {
		return
	}
	io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	switch r.URL.Path {
	case "/slow":
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
		}
	case "/long":
		drain.LongLived(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })).ServeHTTP(w, r)
	case "/hijack", "/keep":
		nc, _, err := http.NewResponseController(w).Hijack()
		if err == nil && r.URL.Path == "/hijack" {
			nc.Close()
		}
		return
	case "/panic":
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, "ok")
}
