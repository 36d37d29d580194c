// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
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
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/lameduck-go/lameduck/internal/proc"
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

// start starts a server, and returns once it says that it has started.
func (s strategy) start(t *testing.T, env ...string) *proc.Server {
	t.Helper()
	env = append(env, strategyEnv+"="+string(s), "GORACE=atexit_sleep_ms=0") // no pause of the race detector's own
	return proc.Serve(t, os.Args[0], env...)
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
