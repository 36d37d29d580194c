// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// clientsEnv makes a client of others that is not installed a failure; without it
// its tests are skipped.
const clientsEnv = "LAMEDUCK_CLIENTS"

// program returns the path of a client of others.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv(clientsEnv) != "required" {
		t.Skipf("%s is not installed", name)
	}
	require.NoError(t, err)
	return path
}

// A forwarder passes TCP connections on, as a load balancer of layer 4 does: a new
// one to whatever is behind it at that moment.
type forwarder struct {
	net.Listener
	to    atomic.Pointer[string]
	conns sync.WaitGroup
}

func forward(t *testing.T, to string) *forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &forwarder{Listener: l}
	f.to.Store(&to)
	f.conns.Go(f.accept)
	t.Cleanup(func() {
		l.Close()
		f.conns.Wait()
	})
	return f
}

func (f *forwarder) accept() {
	for {
		in, err := f.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", *f.to.Load())
		if err != nil {
			in.Close()
			continue
		}
		f.conns.Go(func() { pass(out, in) })
		f.conns.Go(func() { pass(in, out) })
	}
}

func pass(to, from net.Conn) {
	io.Copy(to, from)
	to.(*net.TCPConn).CloseWrite()
	from.(*net.TCPConn).CloseRead()
}

// A replica is a server that counts what it answers.
type replica struct {
	*drain.Server
	addr     string
	answered atomic.Int64
	served   chan error
}

// startReplica starts a server of h2 or, beside HTTP/1.1, of h2c. Each request takes
// three milliseconds.
func startReplica(t *testing.T, proto string) *replica {
	t.Helper()
	r := &replica{served: make(chan error, 1)}
	r.Server = &drain.Server{Floor: time.Second, HTTP: &http.Server{
		Protocols: protocols(proto),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t)}},
		Handler:   http.HandlerFunc(r.answer),
	}}
	l := listen(t, "tcp", "127.0.0.1:0")
	r.addr = l.Addr().String()
	go func() { r.served <- serveBy(proto, r.Serve, r.ServeTLS)(l) }()
	return r
}

func (r *replica) answer(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	time.Sleep(3 * time.Millisecond)
	io.WriteString(w, "ok")
	r.answered.Add(1)
}

// drain drains the replica, and returns its report.
func (r *replica) drain(t *testing.T) drain.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	report, err := r.Drain(ctx)
	assert.NoError(t, err)
	<-r.served
	return report
}

// TestHTTP2CurlMovesOn has curl send requests on one connection while a server leaves
// and another takes its place half a second later. It is for TLS: over h2c curl 7.88,
// Debian's, sends no second request on a connection to any server.
func TestHTTP2CurlMovesOn(t *testing.T) {
	const requests = 1200 // some seconds: curl is told twice, by two servers or by one
	curl := program(t, "curl")
	old, next := startReplica(t, "h2"), startReplica(t, "h2")
	f := forward(t, old.addr)
	cmd := exec.CommandContext(t.Context(), curl, "--http2", "--insecure", "--data", "body", "-sSv", "-o", os.DevNull,
		"-w", "%{http_code} %{http_version}\n", fmt.Sprintf("https://%v/[1-%d]", f.Addr(), requests))
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	require.NoError(t, cmd.Start())
	for old.answered.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(500*time.Millisecond, func() { f.to.Store(&next.addr) })
	report := old.drain(t)
	assert.NoError(t, cmd.Wait())
	assert.Equal(t, requests, strings.Count(out.String(), "200 2\n"))
	assert.NotContains(t, strings.ToLower(stderr.String()), "retry")
	assert.EqualValues(t, requests, old.answered.Load()+next.answered.Load())
	assert.NotZero(t, next.answered.Load())
	assert.NotZero(t, report.GoAway)
	next.drain(t)
}
