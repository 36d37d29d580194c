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
	"regexp"
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

// startReplica starts a server of h2 or, beside HTTP/1.1, of h2c.
func startReplica(t *testing.T, proto string) *replica {
	t.Helper()
	r := &replica{served: make(chan error, 1)}
	r.Server = &drain.Server{Floor: time.Second, HTTP: &http.Server{
		Protocols: protocols(proto),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t)}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r2 *http.Request) {
			io.Copy(io.Discard, r2.Body)
			time.Sleep(3 * time.Millisecond)
			io.WriteString(w, "ok")
			r.answered.Add(1)
		}),
	}}
	l := listen(t, "tcp", "127.0.0.1:0")
	r.addr = l.Addr().String()
	go func() { r.served <- serveBy(proto, r.Serve, r.ServeTLS)(l) }()
	return r
}

func (r *replica) drain(t *testing.T) drain.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	report, err := r.Drain(ctx)
	assert.NoError(t, err)
	<-r.served
	return report
}

// TestHTTP2ClientsOfOthers has curl and h2load send requests while one server leaves
// and another takes its place half a second later.
func TestHTTP2ClientsOfOthers(t *testing.T) {
	for _, tt := range []struct {
		client, proto string
		args          []string
	}{
		{"curl", "h2c", []string{"--http2-prior-knowledge", "--data", "body", "-sSv", "-w", "%{http_code} %{http_version}\n", "-o", "/dev/null"}},
		{"curl", "h2", []string{"--http2", "--insecure", "--data", "body", "-sSv", "-w", "%{http_code} %{http_version}\n", "-o", "/dev/null"}},
		{"h2load", "h2c", []string{"-n", "6000", "-c", "4", "-m", "5"}},
		{"h2load", "h2", []string{"-n", "6000", "-c", "4", "-m", "5"}},
	} {
		t.Run(tt.client+" "+tt.proto, func(t *testing.T) {
			path := program(t, tt.client)
			old, next := startReplica(t, tt.proto), startReplica(t, tt.proto)
			f := forward(t, old.addr)
			url := map[string]string{"h2": "https", "h2c": "http"}[tt.proto] + "://" + f.Addr().String() + "/"
			if tt.client == "curl" {
				url += "[1-500]"
			}
			var out, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), path, append(tt.args, url)...)
			cmd.Stdout, cmd.Stderr = &out, &stderr
			require.NoError(t, cmd.Start())
			time.Sleep(500 * time.Millisecond) // some requests in, and not half of them
			time.AfterFunc(500*time.Millisecond, func() { f.to.Store(&next.addr) })
			report := old.drain(t)
			err := cmd.Wait()
			answered := old.answered.Load() + next.answered.Load()
			t.Logf("%v; told %d; %d and %d answered", err, report.GoAway, old.answered.Load(), next.answered.Load())
			next.drain(t)
			if tt.client == "curl" {
				assert.NoError(t, err)
				assert.Equal(t, 500, strings.Count(out.String(), "200 2\n"), "%s", &stderr)
				assert.NotRegexp(t, regexp.MustCompile("(?i)retry"), stderr.String())
				assert.EqualValues(t, 500, answered)
			} else {
				t.Log(out.String(), stderr.String())
				assert.Contains(t, out.String(), fmt.Sprintf("%d succeeded", answered))
			}
			assert.NotZero(t, next.answered.Load())
			assert.NotZero(t, report.GoAway)
		})
	}
}
