// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// traced runs the program tracing until it has been told to leave and has.
func traced(t *testing.T, export http.HandlerFunc) lifecycletest.Exit {
	t.Helper()
	srv := httptest.NewServer(export)
	t.Cleanup(srv.Close)
	addr := proc.FreeAddr(t)
	p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), filepath.Join(bin, "tracing")),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+srv.URL, "PORT="+proc.Port(proc.FreeAddr(t)), "PROBE_PORT="+proc.Port(addr), "GRACE_PERIOD=20s", "SHUTDOWN_DELAY=0s")
	p.Ready("http://"+addr+"/readyz", 10*time.Second)
	p.Signal(syscall.SIGTERM)
	return p.Wait(20 * time.Second)
}

// TestShutdownIsExported: the trace of a real shutdown comes to a collector.
func TestShutdownIsExported(t *testing.T) {
	spans := make(chan string, 100)
	exit := traced(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		var request collector.ExportTraceServiceRequest
		assert.NoError(t, proto.Unmarshal(body, &request))
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					spans <- span.Name
				}
			}
		}
	})
	assert.Equal(t, 0, exit.Status, exit.Output)
	close(spans)
	var got []string
	for name := range spans {
		got = append(got, name)
	}
	assert.ElementsMatch(t, []string{"shutdown", "accept window", "drain", "stop",
		"phase: accept window", "phase: drain", "phase: components"}, got)
}

// TestCollectorThatHangsHoldsNothing: it takes the spans and never answers.
func TestCollectorThatHangsHoldsNothing(t *testing.T) {
	exported := make(chan struct{}, 100)
	exit := traced(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		exported <- struct{}{}
		<-r.Context().Done()
	})
	require.NotEmpty(t, exported)
	assert.Equal(t, 1, exit.Status, exit.Output)
	assert.Contains(t, exit.Output, "component=flush")
	assert.Equal(t, "Exited", exit.Instants[len(exit.Instants)-1])
}

// TestMetricsAreBesideTheProbes: /metrics is on their listener and on no other.
func TestMetricsAreBesideTheProbes(t *testing.T) {
	p := start(t, "metrics")
	assert.Equal(t, []int{200, 404, 200}, []int{p.Get(p.Probe, "/metrics"), p.Get(p.Addr, "/metrics"), p.Get(p.Addr, "/work")})
	code, _ := p.end()
	assert.Zero(t, code, p.Output())
}
