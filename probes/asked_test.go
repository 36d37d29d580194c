// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// says answers every connection with a function of its own, and returns its address.
func says(t *testing.T, answer func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// readRequest reads a request until its end.
func readRequest(conn net.Conn) {
	var got []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(got), "\r\n\r\n"); {
		n, err := conn.Read(b)
		if got = append(got, b[:n]...); err != nil {
			return
		}
	}
}

// gone returns when the client has closed the connection.
func gone(conn net.Conn) { io.Copy(io.Discard, conn) }

// endless writes until the client has had enough.
func endless(conn net.Conn, head, text string) {
	readRequest(conn)
	_, err := io.WriteString(conn, head)
	for err == nil {
		_, err = io.WriteString(conn, text)
	}
}

// What is not an answer is a failure, whatever it is, and nothing is waited for
// beyond the context.
func TestAskOfBadServers(t *testing.T) {
	write := func(text string) func(net.Conn) {
		return func(conn net.Conn) { readRequest(conn); io.WriteString(conn, text) }
	}
	for name, tt := range map[string]struct {
		answer func(net.Conn)
		result probes.Exit
		said   string
	}{
		"garbage":              {write("hello\n"), probes.Failure, "malformed HTTP"},
		"nothing":              {func(net.Conn) {}, probes.Failure, ""},
		"end":                  {readRequest, probes.Failure, "EOF"},
		"half a line":          {write("HTTP/1.1 200"), probes.Failure, "EOF"},
		"another protocol":     {write("220 mail.example ESMTP\r\n"), probes.Failure, "malformed HTTP"},
		"no such status":       {write("HTTP/1.1 20 OK\r\n\r\n"), probes.Failure, "malformed HTTP status code"},
		"bad length":           {write("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), probes.Failure, "Content-Length"},
		"two lengths":          {write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"), probes.Failure, "Content-Length"},
		"status of HTTP/1.0":   {write("HTTP/1.0 200 OK\r\n\r\nok\n"), probes.Success, "ok"},
		"bad chunks":           {write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"), probes.Success, "ok"},
		"endless status":       {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 ", strings.Repeat("x", 4096)) }, probes.Failure, ""},
		"endless header":       {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 OK\r\n", "X: "+strings.Repeat("x", 4096)+"\r\n") }, probes.Failure, "header"},
		"endless informations": {func(conn net.Conn) { endless(conn, "", "HTTP/1.1 103 Early Hints\r\n\r\n") }, probes.Failure, "header"},
		"endless body":         {func(conn net.Conn) { endless(conn, "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096)) }, probes.Success, strings.Repeat("x", 4096)},
		"endless failure":      {func(conn net.Conn) { endless(conn, "HTTP/1.1 500 Bad\r\n\r\n", strings.Repeat("x", 4096)) }, probes.Failure, "500 Bad: xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			result, said := probes.Ask(ctx, says(t, tt.answer), "ready")
			assert.Equal(t, tt.result, result, said)
			assert.Contains(t, said, tt.said)
			assert.NoError(t, ctx.Err())
			assert.Less(t, len(said), 5<<10)
		})
	}

	t.Run("TLS", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = &tls.Config{}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		result, said := probes.Ask(t.Context(), s.Listener.Addr().String(), "ready")
		assert.Equal(t, probes.Failure, result)
		assert.Contains(t, said, "400 Bad Request")
	})
}

// A server that stops speaking is waited for until the context ends, and not
// longer, wherever in its answer it stops.
func TestAskOfServersThatStop(t *testing.T) {
	for name, text := range map[string]string{
		"at once":         "",
		"in the status":   "HTTP/1.1 2",
		"in the header":   "HTTP/1.1 200 OK\r\nContent-Le",
		"before the body": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
		"in the body":     "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			addr := says(t, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, text)
				cancel()
				gone(conn) // which ask is to close
			})
			result, said := probes.Ask(ctx, addr, "ready")
			if result == probes.Success { // the header was there by then
				assert.Contains(t, name, "body")
				assert.True(t, strings.HasPrefix("no", said), said)
				return
			}
			assert.Equal(t, probes.Failure, result)
			assert.Equal(t, "context canceled", said)
		})
	}
}

// The exit status of a process that asks: 0, 1 and 3, and never 2.
func TestExitStatus(t *testing.T) {
	ok := says(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	garbage := says(t, func(conn net.Conn) { readRequest(conn); io.WriteString(conn, "\x00\xff\n") })
	stalled := says(t, func(conn net.Conn) { readRequest(conn); io.WriteString(conn, "HTTP/1.1 200 OK\r\nX:"); gone(conn) })
	_, port, err := net.SplitHostPort(ok)
	require.NoError(t, err)
	for _, tt := range []struct {
		addr, args string
		status     int
		out        string
	}{
		{ok, "probe ready", 0, "success: ok\n"},
		{":" + port, "probe live", 0, "success: ok\n"},
		{"localhost:" + port, "probe startup", 0, "success: ok\n"},
		{ok, "probe /any/path?verbose", 0, "success: ok\n"},
		{garbage, "probe ready", 1, "failure: net/http: HTTP/1.x transport connection broken: malformed HTTP"},
		{stalled, "probe ready", 1, "failure: context deadline exceeded\n"},
		{ok, "probe", 3, "unknown: usage: "},
		{ok, "probe ready now", 3, "unknown: usage: "},
		{ok, "probe liveness", 3, `unknown: no probe is called "liveness"`},
		{"127.0.0.1", "probe ready", 3, "unknown: address 127.0.0.1: missing port in address\n"},
		{"", "probe ready", 3, "unknown: missing port in address\n"},
	} {
		status, out := myservice(t, tt.addr, tt.args)
		assert.Equal(t, tt.status, status, "%s at %s: %s", tt.args, tt.addr, out)
		assert.True(t, strings.HasPrefix(out, tt.out), "%s at %s: %q", tt.args, tt.addr, out)
	}
}
