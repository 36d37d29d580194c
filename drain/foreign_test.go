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
	"path/filepath"
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

// A replica is a server that counts what it answers, and says on /readyz that it is not
// ready once it leaves.
type replica struct {
	*drain.Server
	addr     string
	work     time.Duration // of each request
	leaving  atomic.Bool
	answered atomic.Int64
	served   chan error
}

// startReplica starts a server of h2 or, beside HTTP/1.1, of h2c. Each request takes
// some time.
func startReplica(t *testing.T, proto string, work time.Duration) *replica {
	t.Helper()
	r := &replica{work: work, served: make(chan error, 1)}
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
	if req.URL.Path == "/readyz" {
		if r.leaving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	io.Copy(io.Discard, req.Body)
	time.Sleep(r.work)
	io.WriteString(w, "ok")
	r.answered.Add(1)
}

// drain drains the replica, and returns its report.
func (r *replica) drain(t *testing.T) drain.Report {
	t.Helper()
	r.leaving.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	report, err := r.Drain(ctx)
	assert.NoError(t, err)
	<-r.served
	return report
}

// shutdown ends the replica as net/http does.
func (r *replica) shutdown(t *testing.T) {
	t.Helper()
	r.leaving.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r.HTTP.Shutdown(ctx)
	<-r.served
}

// TestHTTP2CurlMovesOn has curl send requests on one connection while a server leaves
// and another takes its place half a second later. It is for TLS: over h2c curl 7.88,
// Debian's, sends no second request on a connection to any server.
func TestHTTP2CurlMovesOn(t *testing.T) {
	const requests = 1200 // some seconds: curl is told twice, by two servers or by one
	curl := program(t, "curl")
	old, next := startReplica(t, "h2", 3*time.Millisecond), startReplica(t, "h2", 3*time.Millisecond)
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

// TestHTTP2CurlWithoutTLS has curl after curl send a request over h2c, by prior knowledge
// and by an Upgrade that net/http does not take, while a server leaves and another takes
// its place half a second later. The same with net/http's Shutdown stands beside it.
func TestHTTP2CurlWithoutTLS(t *testing.T) {
	curl := program(t, "curl")
	for _, tt := range []struct{ flag, want string }{
		{"--http2-prior-knowledge", "200 2"},
		{"--http2", "200 1.1"},
	} {
		t.Run(tt.flag, func(t *testing.T) {
			answers, report := curlAfterCurl(t, curl, tt.flag, func(r *replica) drain.Report { return r.drain(t) })
			for answer, n := range answers {
				assert.Equal(t, tt.want, answer, "%d times", n)
			}
			assert.NotZero(t, report.Accept.Requests)

			answers, _ = curlAfterCurl(t, curl, tt.flag, func(r *replica) drain.Report { r.shutdown(t); return drain.Report{} })
			t.Logf("http.Server.Shutdown: %v", answers)
			assert.Greater(t, len(answers), 1, "the baseline loses nothing, so this test tests nothing")
		})
	}
}

// curlAfterCurl returns how often curl got which status and version.
func curlAfterCurl(t *testing.T, curl, flag string, end func(*replica) drain.Report) (map[string]int, drain.Report) {
	t.Helper()
	old, next := startReplica(t, "h2c", 0), startReplica(t, "h2c", 0)
	f := forward(t, old.addr)
	answers, done := make(map[string]int), make(chan struct{})
	go func() {
		defer close(done)
		for next.answered.Load() < 20 {
			out, _ := exec.CommandContext(t.Context(), curl, flag, "--data", "body", "-s", "-o", os.DevNull,
				"-w", "%{http_code} %{http_version}", fmt.Sprintf("http://%v/", f.Addr())).Output()
			answers[string(out)]++
		}
	}()
	for old.answered.Load() < 5 {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(500*time.Millisecond, func() { f.to.Store(&next.addr) })
	report := end(old)
	<-done
	next.drain(t)
	return answers, report
}

// TestHTTP2BehindHAProxy has h2load send requests through HAProxy, which speaks HTTP/2 on
// both sides and sends none again, while one of two servers leaves. The same with net/http's
// Shutdown stands beside it.
func TestHTTP2BehindHAProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	h2load, haproxy := program(t, "h2load"), program(t, "haproxy")
	for _, proto := range []string{"h2c", "h2"} {
		t.Run(proto, func(t *testing.T) {
			var report drain.Report
			got := behindHAProxy(t, haproxy, h2load, proto, func(r *replica) { report = r.drain(t) })
			assert.Equal(t, proxied{succeeded: proxiedRequests, answered: proxiedRequests}, got)
			assert.NotZero(t, report.GoAway)
			assert.Zero(t, report.GoAwayOnce)

			got = behindHAProxy(t, haproxy, h2load, proto, func(r *replica) { r.shutdown(t) })
			t.Logf("http.Server.Shutdown: %+v of %d requests", got, proxiedRequests)
			assert.Less(t, got.succeeded, int64(proxiedRequests), "the baseline loses nothing, so this test tests nothing")
		})
	}
}

const proxiedRequests = 4000

// proxied is how requests through a proxy have ended.
type proxied struct {
	succeeded int64 // 2xx, as h2load counts
	answered  int64 // by the servers
}

// behindHAProxy ends one of two servers by a function when both have answered.
func behindHAProxy(t *testing.T, haproxy, h2load, proto string, end func(*replica)) proxied {
	t.Helper()
	old, next := startReplica(t, proto, 20*time.Millisecond), startReplica(t, proto, 20*time.Millisecond)
	addr := startHAProxy(t, haproxy, proto, old.addr, next.addr)
	body := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(body, []byte("body"), 0o600))
	cmd := exec.CommandContext(t.Context(), h2load, "-c8", "-m4", "-d", body, fmt.Sprintf("-n%d", proxiedRequests), "http://"+addr+"/")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	waited := make(chan error, 1)
	go func() { waited <- cmd.Wait() }()
	for old.answered.Load() < 100 || next.answered.Load() < 100 {
		select {
		case err := <-waited:
			require.FailNow(t, "h2load has ended before", "%v\n%s", err, &out)
		case <-time.After(time.Millisecond):
		}
	}
	end(old)
	assert.NoError(t, <-waited, &out)
	next.drain(t)
	var got proxied
	got.answered = old.answered.Load() + next.answered.Load()
	_, codes, _ := strings.Cut(out.String(), "status codes: ")
	_, err := fmt.Sscanf(codes, "%d 2xx", &got.succeeded)
	assert.NoError(t, err, &out)
	return got
}

// haproxyConfig has HAProxy ask for readiness often enough to notice in the accept
// window, and not so often that it would have left a server before that tells it to go.
// A check may take ten seconds, and its dial as long as inter: on a busy machine a server
// is not down because it is slow.
const haproxyConfig = `
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  timeout check 10s
  retries 0
  http-reuse always
  option httpchk GET /readyz
frontend in
  bind fd@3 proto h2
  default_backend out
backend out
  default-server check inter 1s fastinter 200ms fall 2 %[1]s
  server old %[2]s
  server next %[3]s
`

// startHAProxy starts HAProxy in front of two servers, and returns its address.
func startHAProxy(t *testing.T, haproxy, proto, old, next string) string {
	t.Helper()
	speaks := "proto h2"
	if proto == "h2" {
		speaks = "ssl verify none alpn h2 check-alpn h2 check-proto h2" // its checks speak HTTP/1.1 otherwise, to an h2 that was negotiated
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, speaks, old, next), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer f.Close()
	cmd := exec.Command(haproxy, "-db", "-f", config)
	cmd.ExtraFiles = []*os.File{f}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("HAProxy: %s", &out)
		}
	})
	return l.Addr().String()
}
