// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// scrape returns the lines of the bridge's metrics.
func scrape(t *testing.T, addr string) []string {
	t.Helper()
	resp, err := client.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "\ngo_goroutines ")
	return regexp.MustCompile(`(?m)^lameduck_.*$`).FindAllString(string(body), -1)
}

// scrapeUntil scrapes until there is a line that begins with prefix.
func scrapeUntil(t *testing.T, addr, prefix string) (lines []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		lines = scrape(t, addr)
		return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) })
	}, 30*time.Second, 5*time.Millisecond, prefix)
	return lines
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestScrapedToTheLastMoment scrapes over HTTP before, during and at the end of a
// shutdown that is held where the test wants it.
func TestScrapedToTheLastMoment(t *testing.T) {
	addr, probeAddr := freeAddr(t), freeAddr(t)
	app := newApp(addr, probeAddr)
	app.Logger, app.Floor = slog.New(slog.DiscardHandler), -1
	app.Probes.Logger = app.Logger
	web, inWork := &app.Components[0], make(chan struct{})
	web.DependsOn = []string{"db"}
	web.Server.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { close(inWork); <-r.Context().Done() })
	app.GracePeriod, app.Reserve = 6*time.Second, time.Second // the request is cancelled
	stopping, flushing := make(chan struct{}), make(chan struct{})
	app.Components = append(app.Components, lifecycle.Component{
		Name:  "db",
		Ready: func(context.Context) error { return nil },
		Stop:  func(context.Context) error { <-stopping; return errors.New("broken") },
	})
	app.Flush = func(context.Context) error { <-flushing; return nil }

	s := lifecycletest.Start(t, app)
	s.Ready(10 * time.Second)
	lines := scrapeUntil(t, probeAddr, `lameduck_changes_total{check="",probe="readiness",to="passing"} 1`)
	for _, want := range []string{
		"lameduck_live 1", "lameduck_ready 1", "lameduck_shutting_down 0", `lameduck_check_passing{check="db"} 1`,
		`lameduck_changes_total{check="db",probe="readiness",to="passing"} 1`,
	} {
		assert.Contains(t, lines, want)
	}
	scrapeUntil(t, probeAddr, `lameduck_component_seconds{component="db",op="start"} `)

	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := client.Get("http://" + addr); err == nil {
			resp.Body.Close()
		}
	}()
	<-inWork
	app.Shutdown("enough")
	lines = scrapeUntil(t, probeAddr, `lameduck_changes_total{check="",probe="readiness",to="failing"} 1`)
	assert.Contains(t, lines, "lameduck_live 1")
	assert.Contains(t, lines, "lameduck_ready 0")
	assert.Contains(t, lines, "lameduck_shutting_down 1")

	lines = scrapeUntil(t, probeAddr, `lameduck_phase_seconds{phase="drain"} `)
	assert.Contains(t, lines, `lameduck_shutdown_requests_total{component="http",fate="served"} 0`, "it had begun before")
	assert.Contains(t, lines, `lameduck_shutdown_requests_total{component="http",fate="cancelled"} 1`)
	assert.Contains(t, lines, `lameduck_shutdown_requests_total{component="http",fate="cut"} 0`)
	<-answered

	close(stopping)
	lines = scrapeUntil(t, probeAddr, `lameduck_phase_seconds{phase="components"} `)
	assert.Contains(t, lines, `lameduck_component_faults_total{component="db",fate="failed"} 1`)
	close(flushing)
	r := s.Wait(10 * time.Second)
	assert.Equal(t, 1, r.ExitStatus)

	// The figures are those of the report, as far as a float has them.
	for _, phase := range r.Report.Phases[:3] {
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, `phase="`+phase.Name+`"`) })
		require.GreaterOrEqual(t, i, 0, phase.Name)
		_, value, _ := strings.Cut(lines[i], "} ")
		got, err := time.ParseDuration(value + "s")
		require.NoError(t, err)
		assert.InDelta(t, phase.Took, got, float64(50*time.Millisecond), phase.Name)
	}
	_, err := client.Get("http://" + probeAddr + "/metrics")
	assert.Error(t, err, "closed last")
}
