// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// faultEnv names the environment variable that makes the test binary a program
// with a fault, to be ended by real signals.
const faultEnv = "LAMEDUCK_TEST_FAULT"

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultEnv); fault != "" {
		faulty(fault)
	}
	if name := os.Getenv(programEnv); name != "" {
		programs[name]()
	}
	goleak.VerifyTestMain(m)
}

// grace is the grace period of the programs. What is hung takes all of it but a
// part of the reserve, so it is short.
const grace = 4 * time.Second

func TestFaultyProgramIsGoneBeforeTheGracePeriod(t *testing.T) {
	for _, tt := range []struct {
		fault string
		ready string // what it says when the signal may come
		code  int
		want  []string // what it says before it is gone
	}{
		{"none", "instant=Started", 0, []string{"db stopped", "instant=Exited"}},
		{"stop hangs", "instant=Started", 4, []string{"component=guilty op=stop", stackOfFault, "db stopped", "instant=Exited"}},
		{"start hangs", "hanging", 4, []string{"component=guilty op=start", stackOfFault, "db stopped", "instant=Exited"}},
		{"run ignores its context", "instant=Started", 4, []string{"component=guilty op=run", stackOfFault, "db stopped"}},
		{"stop panics", "instant=Started", 1, []string{"component=guilty", "panic: odd", "db stopped"}},
		{"flush hangs", "instant=Started", 4, []string{"component=flush", stackOfFault, "db stopped"}},
		{"check panics", "panic: odd", 1, []string{"check=guilty", "check guilty: panic: odd", "db stopped"}},
		{"check hangs", "instant=Started", 0, []string{"db stopped"}},
		{"start obeys", "hanging", 0, []string{"start interrupted", "component=guilty", "db stopped"}},
		{"start fails", "", 3, []string{"start guilty: broken", "db stopped"}},
		{"run fails", "", 1, []string{"run guilty: broken", "db stopped"}},
		{"run panics as it stops", "instant=Started", 1, []string{"run guilty: panic: odd", "db stopped"}},
		{"stop leaves by Goexit", "instant=Started", 1, []string{"stop guilty: runtime.Goexit was called", "db stopped"}},
		{"stop obeys", "instant=Started", 4, []string{"stop guilty: lifecycle: not done by its deadline: context deadline exceeded", "db stopped"}},
		{"error hangs", "instant=Started", 4, []string{"component=guilty op=stop", "hostile", "db stopped"}},
		{"a hundred hang", "instant=Started", 4, []string{"component=guilty0 op=stop", "component=guilty99 op=stop", "db stopped", "instant=Exited"}},
		{"observer hangs", "instant=Started", 0, []string{"observer has not been told everything", "faulty", "db stopped"}},
		{"observer panics", "instant=Started", 0, []string{"observer has not been told everything", "panic: odd", "db stopped"}},
		{"logger hangs", "instant=Started", 0, []string{"db stopped", "the Logger has not written everything: it has not returned"}},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			steadily(t, func(t *trial) {
				p := run(t, tt.fault, "GRACE_PERIOD="+grace.String())
				if tt.ready != "" { // and otherwise it ends by itself
					p.waitFor(tt.ready)
					p.signal(syscall.SIGTERM)
				}
				t0 := t.clock.Now()
				code, _ := p.exit(time.Now())
				assert.Less(t, t.clock.Now()-t0, grace, p.out.String()) // when the kubelet would kill it
				assert.Equal(t, tt.code, code, p.out.String())
				for _, want := range tt.want {
					p.assertSays(t, want)
				}
			})
		})
	}
}

func TestHandlerThatIgnoresItsContextIsNamed(t *testing.T) {
	t.Parallel()
	steadily(t, func(t *trial) {
		addr := freeAddr(t)
		p := run(t, "handler ignores its context", "GRACE_PERIOD="+grace.String(), "ADDR="+addr)
		p.waitFor("instant=Started")
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer nc.Close()
		fmt.Fprint(nc, "GET /guilty HTTP/1.1\r\nHost: test\r\n\r\n")
		p.waitFor("hanging")
		t0 := t.clock.Now()
		code, _ := p.exit(p.signal(syscall.SIGTERM))
		assert.Less(t, t.clock.Now()-t0, grace)
		assert.Equal(t, 4, code)
		for _, want := range []string{"component=web op=drain", "GET /guilty", stackOfFault, "db stopped"} {
			p.assertSays(t, want)
		}
		_, err = nc.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
	})
}

func TestInvalidEnvironmentIsOneLine(t *testing.T) {
	t.Parallel()
	p := run(t, "none", "GRACE_PERIOD=soon")
	code, _ := p.exit(time.Now())
	assert.Equal(t, 2, code)
	assert.Equal(t, 1, strings.Count(p.out.String(), "\n"), p.out.String())
	assert.Contains(t, p.out.String(), `GRACE_PERIOD: "soon" is not a duration`)
}

func TestPortInUseIsAnErrorAndNothingIsLeftRunning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	for _, tt := range []struct{ name, culprit string }{{"ADDR", "web"}, {"PROBE_ADDR", "probes"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := run(t, "none", tt.name+"="+l.Addr().String())
			code, _ := p.exit(time.Now())
			assert.Equal(t, 3, code)
			assert.Contains(t, p.out.String(), tt.culprit)
			assert.Contains(t, p.out.String(), l.Addr().String()+": bind: address already in use")
		})
	}
}

func TestProbeListenerIsClosedLast(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := run(t, "flush hangs", "GRACE_PERIOD="+grace.String(), "PROBE_ADDR="+addr)
	p.waitFor("instant=Started")
	get := func(path string) int {
		resp, err := http.Get("http://" + addr + path)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	assert.Equal(t, []int{200, 200}, []int{get("/livez"), get("/startupz")})
	t0 := p.signal(syscall.SIGTERM)
	p.waitFor("instant=ShutdownInitiated")
	assert.Equal(t, []int{200, 503}, []int{get("/livez"), get("/readyz")})
	p.waitFor("instant=ComponentsStopped")
	assert.Equal(t, []int{200, 503}, []int{get("/livez"), get("/readyz")})
	p.exit(t0)
	_, err := net.Dial("tcp", addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	http.DefaultClient.CloseIdleConnections()
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
