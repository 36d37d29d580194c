// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/lameduck-go/lameduck/lifecycle"
)

// The test binary is its own server, in a process of its own: strategyEnv says how it
// leaves. In callsEnv is the name of a file for the ids of the calls that have run.
const (
	strategyEnv = "LAMEDUCK_TEST_STRATEGY"
	callsEnv    = "LAMEDUCK_TEST_CALLS"
	idKey       = "x-call-id"
)

// A strategy is a way of leaving.
type strategy string

const (
	lameduck     strategy = "lameduck"      // as main does
	gracefulStop strategy = "GracefulStop"  // at the signal
	sleepShort   strategy = "sleep 1s"      // and then GracefulStop
	sleepLong    strategy = "sleep 2s"      // the same, for as long as clients need to learn of it
	deaf         strategy = "lameduck+deaf" // as main does; no stream listens to anything
)

func TestMain(m *testing.M) {
	if s := strategy(os.Getenv(strategyEnv)); s != "" {
		s.serve()
		return
	}
	goleak.VerifyTestMain(m)
}

// serve is the server's main.
func (s strategy) serve() {
	service := &recorder{deaf: s == deaf}
	if name := os.Getenv(callsEnv); name != "" {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		service.calls = f
	}
	if s == lameduck || s == deaf {
		lifecycle.Main(newApp(service))
	}
	srv := grpc.NewServer(grpc.Creds(transport()))
	testgrpc.RegisterTestServiceServer(srv, service)
	l, err := net.Listen("tcp", port("PORT", ""))
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Println("instant=Started")
	<-ctx.Done()
	wait, _ := time.ParseDuration(strings.TrimPrefix(string(s), "sleep "))
	time.Sleep(wait)
	srv.GracefulStop()
	if err := <-served; err != nil {
		panic(err)
	}
}

// A recorder is work that writes the id of each call into a file.
type recorder struct {
	work
	calls *os.File
	deaf  bool
}

func (r *recorder) note(ctx context.Context) {
	if md, _ := metadata.FromIncomingContext(ctx); r.calls != nil && len(md[idKey]) > 0 {
		fmt.Fprintln(r.calls, md[idKey][0])
	}
}

func (r *recorder) UnaryCall(ctx context.Context, q *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	r.note(ctx)
	return r.work.UnaryCall(ctx, q)
}

func (r *recorder) StreamingOutputCall(q *testgrpc.StreamingOutputCallRequest, out grpc.ServerStreamingServer[testgrpc.StreamingOutputCallResponse]) error {
	r.note(out.Context())
	if r.deaf {
		out.Send(new(testgrpc.StreamingOutputCallResponse))
		select {}
	}
	return r.work.StreamingOutputCall(q, out)
}

func (r *recorder) StreamingInputCall(in grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	r.note(in.Context())
	return r.work.StreamingInputCall(in)
}

func (r *recorder) FullDuplexCall(both grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	r.note(both.Context())
	return r.work.FullDuplexCall(both)
}

// ran returns how many calls have run, and how many of them more than once.
func ran(t *testing.T, name string) (calls, twice int) {
	t.Helper()
	ids, err := os.ReadFile(name)
	require.NoError(t, err)
	times := make(map[string]int)
	for id := range strings.Lines(string(ids)) {
		times[id]++
	}
	for _, n := range times {
		if n > 1 {
			twice++
		}
	}
	return len(times), twice
}

// A process is a server.
type process struct {
	cmd         *exec.Cmd
	addr, probe string
	out         output
	gone        chan struct{} // closed when it has ended, and left is set
	left        time.Time
}

// start starts a server, and returns once it says that it has started.
func (s strategy) start(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), addr: freeAddr(t), probe: freeAddr(t), gone: make(chan struct{})}
	p.out.started = make(chan struct{})
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"GRACE_PERIOD", "PRE_STOP_DELAY", "KUBERNETES_SERVICE_HOST", "TLS_CERT", "TLS_KEY"}, name)
	})
	p.cmd.Env = append(p.cmd.Env, strategyEnv+"="+string(s), "PORT="+portOf(p.addr), "PROBE_PORT="+portOf(p.probe),
		"GORACE=atexit_sleep_ms=0") // no pause of the race detector's own
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.gone)
		p.cmd.Wait()
		p.left = time.Now()
	}()
	t.Cleanup(p.kill)
	select {
	case <-p.out.started:
	case <-time.After(20 * time.Second):
		require.Fail(t, "not started", p.out.String())
	}
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.gone
}

// end sends SIGTERM and returns the exit status and the time until the exit; a process
// that has not left by then is killed, and its status is -1.
func (p *process) end(t *testing.T, within time.Duration) (code int, took time.Duration) {
	t.Helper()
	t0 := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.gone:
	case <-time.After(within):
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode(), p.left.Sub(t0)
}

// An output keeps what a process prints, and tells when it has started.
type output struct {
	started chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	started := []byte("instant=Started")
	before := bytes.Contains(o.buf.Bytes(), started)
	o.buf.Write(p)
	if !before && bytes.Contains(o.buf.Bytes(), started) {
		close(o.started)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// line returns the line that contains s.
func (o *output) line(s string) string {
	for line := range strings.Lines(o.String()) {
		if strings.Contains(line, s) {
			return line
		}
	}
	return ""
}

// freeAddr returns an address outside the range from which Linux takes the ports of
// outgoing connections, of which there are many here.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 20000+mathrand.N(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	require.Fail(t, "no free port")
	return ""
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// certificate returns the environment of a server that speaks TLS.
func certificate(t *testing.T) (env []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"test"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
		return name
	}
	return []string{"TLS_CERT=" + write("cert.pem", "CERTIFICATE", cert), "TLS_KEY=" + write("key.pem", "PRIVATE KEY", der)}
}

var clientTLS = &tls.Config{InsecureSkipVerify: true}

var errNoServer = errors.New("no server is known")
