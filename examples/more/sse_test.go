// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// newClient returns a client of its own, which leaves nothing behind.
func newClient(t *testing.T) *http.Client {
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A stream is what a client has got of its events.
type stream struct {
	events int
	retry  bool  // the last field was a retry
	err    error // what ended the body; nil: a clean end
	ended  time.Time
}

// read takes events until the body ends. They have to be numbered from 1.
func (s *stream) read(body io.Reader, begun func()) {
	defer begun()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			s.ended = time.Now()
			if err != io.EOF || line != "" {
				s.err = fmt.Errorf("%q: %w", line, err)
			}
			return
		}
		switch field, value, _ := strings.Cut(strings.TrimSpace(line), ": "); field {
		case "id":
			s.events++
			if value != fmt.Sprint(s.events) {
				s.err = errors.Join(s.err, fmt.Errorf("event %s comes as number %d", value, s.events))
			}
			s.retry = false
		case "retry":
			s.retry = true
		case "data":
			begun()
		}
	}
}

const streams = 50

// terminateUnderStreams ends a server that sends events to clients which go elsewhere
// when their streams are over.
func terminateUnderStreams(t *testing.T, p program) (all []stream, code int, took time.Duration) {
	t.Helper()
	client := newClient(t)
	all = make([]stream, streams)
	var first, last sync.WaitGroup
	for i := range all {
		resp, err := client.Get("http://" + p.Addr + "/events")
		require.NoError(t, err)
		first.Add(1)
		last.Go(func() {
			defer resp.Body.Close()
			all[i].read(resp.Body, sync.OnceFunc(first.Done))
		})
	}
	first.Wait()
	var gone sync.WaitGroup
	gone.Go(func() {
		last.Wait()
		client.CloseIdleConnections()
	})
	code, took = p.end()
	gone.Wait()
	return all, code, took
}

func TestStreamsOfEventsEndCleanly(t *testing.T) {
	const floor = 2 * time.Second
	p := start(t, "sse", "SHUTDOWN_DELAY="+floor.String(), "GRACE_PERIOD=20s")
	all, code, took := terminateUnderStreams(t, p)
	var instants []time.Time
	for i, s := range all {
		assert.NoError(t, s.err, "stream %d", i)
		assert.True(t, s.retry, "stream %d has a retry field at its end", i)
		instants = append(instants, s.ended)
	}
	t.Logf("%d streams: ends over %v; exit after %v", streams, apart(instants), took)
	assert.GreaterOrEqual(t, apart(instants), time.Second)
	assert.Zero(t, code, p.Output())
	assert.Less(t, took, floor+3*time.Second)
}

// TestShutdownBreaksStreams is what TestStreamsOfEventsEndCleanly is measured against:
// nobody tells them, so they hold it up until it is over with its patience.
func TestShutdownBreaksStreams(t *testing.T) {
	p := program{proc.Serve(t, os.Args[0], naiveEnv+"=sse", "GORACE=atexit_sleep_ms=0")}
	all, code, _ := terminateUnderStreams(t, p)
	assert.Zero(t, code, p.Output())
	assert.Contains(t, p.Output(), "Shutdown has given up")
	for i, s := range all {
		assert.Error(t, s.err, "stream %d", i)
	}
}

func TestAStreamGoesOnWhereItWasLeft(t *testing.T) {
	p := start(t, "sse")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.Addr+"/events", nil)
	require.NoError(t, err)
	req.Header.Set("Last-Event-ID", "41")
	resp, err := newClient(t).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "id: 42\n", line)
}

func TestALongPollIsAnsweredAndTold(t *testing.T) {
	p := start(t, "sse", "SHUTDOWN_DELAY=1s", "GRACE_PERIOD=20s")
	client := newClient(t)
	resp, err := client.Get("http://" + p.Addr + "/poll?wait=1ms")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 204, resp.StatusCode)
	assert.False(t, resp.Close)
	assert.Equal(t, 400, p.Get(p.Addr, "/poll?wait=long"))

	type answer struct {
		code  int
		close bool
	}
	answers := make(chan answer, 1)
	go func() {
		resp, err := client.Get("http://" + p.Addr + "/poll")
		if err != nil {
			answers <- answer{}
			return
		}
		resp.Body.Close()
		answers <- answer{resp.StatusCode, resp.Close}
	}()
	code, took := p.end()
	assert.Equal(t, answer{204, true}, <-answers)
	assert.Zero(t, code, p.Output())
	assert.Less(t, took, 4*time.Second)
}
