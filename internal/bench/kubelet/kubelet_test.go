// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/probe"
	execprobe "k8s.io/kubernetes/pkg/probe/exec"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
	"k8s.io/utils/exec"

	"github.com/lameduck-go/lameduck/probes"
)

// timeout is the kubelet's default.
const timeout = time.Second

// A pod is a process with a registry, as the kubelet sees it.
type pod struct {
	probes.Registry
	mux    *http.ServeMux
	server *httptest.Server
	ip     string
	port   int
	asked  atomic.Pointer[http.Request] // the last request
}

func newPod(t *testing.T) *pod {
	p := &pod{mux: http.NewServeMux()}
	p.Mount(p.mux)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Store(r)
		p.mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.server.Close)
	p.ip, p.port = split(t, p.server.Listener.Addr())

	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ran) })
	return p
}

func split(t *testing.T, addr net.Addr) (ip string, port int) {
	ip, number, err := net.SplitHostPort(addr.String())
	require.NoError(t, err)
	port, err = strconv.Atoi(number)
	require.NoError(t, err)
	return ip, port
}

// get is an httpGet probe of the kubelet.
func (p *pod) get(t *testing.T, path string) (probe.Result, string) {
	t.Helper()
	req, err := httpprobe.NewRequestForHTTPGetAction(
		&v1.HTTPGetAction{Path: path, Port: intstr.FromInt32(int32(p.port)), Scheme: v1.URISchemeHTTP},
		new(v1.Container), p.ip, "probe")
	require.NoError(t, err)
	result, output, err := httpprobe.New(false).Probe(req, timeout)
	require.NoError(t, err, "an error is a probe that is thrown away")
	return result, output
}

func (p *pod) expect(t *testing.T, path string, result probe.Result, output string) {
	t.Helper()
	gotResult, gotOutput := p.get(t, path)
	assert.Equal(t, result, gotResult, path)
	assert.Equal(t, output, gotOutput, path)
}

// ready waits until the registry is, or is not.
func (p *pod) ready(t *testing.T, want bool) {
	for s := range p.Watch(t.Context()) {
		if s.Ready == want {
			return
		}
	}
}

const unavailable = "HTTP probe failed with statuscode: 503"

func TestLifeOfAPod(t *testing.T) {
	p := newPod(t)
	var down error
	states := make(chan error, 1)
	states <- errors.New("down")
	require.NoError(t, p.AddReadiness(probes.Check{Name: "db", Interval: time.Millisecond, Func: func(context.Context) error {
		select {
		case down = <-states:
		default:
		}
		return down
	}}))
	p.expect(t, "/startupz", probe.Failure, unavailable)
	p.expect(t, "/readyz", probe.Failure, unavailable)
	p.expect(t, "/livez", probe.Success, "ok\n")
	p.Started()
	p.expect(t, "/startupz", probe.Success, "ok\n")
	p.expect(t, "/readyz", probe.Failure, unavailable)
	states <- nil
	p.ready(t, true)
	p.expect(t, "/readyz", probe.Success, "ok\n")
	states <- errors.New("down")
	p.ready(t, false)
	p.expect(t, "/readyz", probe.Failure, unavailable)
	p.expect(t, "/livez", probe.Success, "ok\n")
	p.Shutdown()
	p.expect(t, "/readyz", probe.Failure, unavailable)
	p.expect(t, "/startupz", probe.Success, "ok\n")
	p.expect(t, "/livez", probe.Success, "ok\n")
	p.server.Close()
	result, output := p.get(t, "/livez")
	assert.Equal(t, probe.Failure, result)
	assert.Contains(t, output, "connection refused")
}

func TestTheRequest(t *testing.T) {
	p := newPod(t)
	p.expect(t, "/livez", probe.Success, "ok\n")
	r := p.asked.Load()
	assert.Equal(t, http.MethodGet, r.Method, "there is no HEAD")
	assert.Equal(t, "HTTP/1.1", r.Proto)
	assert.True(t, strings.HasPrefix(r.UserAgent(), "kube-probe/"), r.UserAgent())
	assert.True(t, r.Close, "a connection for each")
}

// A redirect would be a warning, which is a success: so there is none.
func TestRedirects(t *testing.T) {
	p := newPod(t)
	p.Started()
	p.Shutdown()
	for _, path := range []string{"/readyz", "/readyz?verbose", "/readyz?exclude=db", "/./readyz", "/x/../readyz"} {
		p.expect(t, path, probe.Failure, unavailable)
	}
	// One that a router makes is followed on this host, and judged by where it
	// leads.
	p.mux.Handle("/ready", http.RedirectHandler("/readyz", http.StatusFound))
	p.mux.Handle("/live", http.RedirectHandler("/livez", http.StatusPermanentRedirect))
	p.expect(t, "/ready", probe.Failure, unavailable)
	p.expect(t, "/live", probe.Success, "ok\n")
	p.mux.Handle("/elsewhere", http.RedirectHandler("http://example.invalid/", http.StatusFound))
	result, _ := p.get(t, "/elsewhere")
	assert.Equal(t, probe.Warning, result, "what an endpoint must never do")
}

// The kubelet reads 10 KiB, and an answer is no longer, however much there is to
// say; and it never stalls after its headers, which would be an error.
func TestBodyLimit(t *testing.T) {
	const limit = 10 << 10
	p := newPod(t)
	for i := range 2000 {
		require.NoError(t, p.AddReadiness(probes.Check{
			Name: fmt.Sprintf("a rather long name of a check that fails, %04d", i),
			Func: func(context.Context) error { return errors.New("down") },
		}))
	}
	p.Started()
	p.expect(t, "/readyz", probe.Failure, unavailable)
	resp, err := http.Get(p.server.URL + "/readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Greater(t, resp.ContentLength, int64(limit/2))
	assert.LessOrEqual(t, resp.ContentLength, int64(limit))

	// A body beyond the limit is cut, and is a success all the same.
	p.mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100<<10)) })
	result, output := p.get(t, "/long")
	assert.Equal(t, probe.Success, result)
	assert.Len(t, output, limit)
}

// A check that hangs holds no probe up.
func TestNothingStalls(t *testing.T) {
	p := newPod(t)
	release := make(chan struct{})
	defer close(release)
	hang := func() error { <-release; return nil }
	require.NoError(t, p.AddReadiness(probes.Check{
		Name:    "db",
		Timeout: time.Millisecond,
		Func:    func(context.Context) error { return hang() },
	}))
	require.NoError(t, p.AddLiveness("loop", hang))
	p.Started()
	p.expect(t, "/readyz", probe.Failure, unavailable)
	for s := range p.Watch(t.Context()) {
		if !s.Live {
			break
		}
	}
	p.expect(t, "/livez", probe.Failure, unavailable)
}

func TestTCPProbe(t *testing.T) {
	p := newPod(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ip, port := split(t, l.Addr())
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- p.ServeTCP(ctx, net.JoinHostPort(ip, strconv.Itoa(port))) }()

	becomes := func(want probe.Result) {
		t.Helper()
		require.Eventually(t, func() bool {
			result, _, err := tcpprobe.New().Probe(ip, port, timeout)
			return err == nil && result == want
		}, time.Minute, time.Millisecond)
	}
	becomes(probe.Failure)
	p.Started()
	becomes(probe.Success)
	p.Shutdown()
	becomes(probe.Failure)
	cancel()
	require.NoError(t, <-served)
}

// The test binary is also myservice, with its probe listener at $ADDR.
const addrEnv = "LAMEDUCK_TEST_EXEC_ADDR"

func init() {
	if addr, ok := os.LookupEnv(addrEnv); ok {
		probes.Exec(addr)
		os.Exit(100)
	}
}

func TestExecProbe(t *testing.T) {
	p := newPod(t)
	t.Setenv(addrEnv, p.server.Listener.Addr().String())
	run := func(want probe.Result, output string, args ...string) {
		t.Helper()
		result, got, err := execprobe.New().Probe(exec.New().Command(os.Args[0], args...))
		require.NoError(t, err)
		assert.Equal(t, want, result)
		assert.Equal(t, output, strings.TrimSuffix(got, "\n"))
	}
	run(probe.Success, "success: ok", "probe", "live")
	run(probe.Failure, "failure: 503 Service Unavailable: not ready: starting", "probe", "ready")
	p.Started()
	run(probe.Success, "success: ok", "probe", "ready")
	run(probe.Failure, "unknown: usage: probe live|ready|startup|/path", "probe")
}
