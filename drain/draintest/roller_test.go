// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

func slow(w http.ResponseWriter, _ *http.Request) {
	time.Sleep(50 * time.Millisecond)
	w.Write([]byte("ok"))
}

// hang reads the body first: only then does net/http notice a closed connection.
func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// A function that returns cuts what it has not finished, as a process would.
func TestServeThatReturnsTooEarlyLoses(t *testing.T) {
	c := config
	c.Serve = func(ctx context.Context, l net.Listener) error {
		go (&http.Server{Handler: http.HandlerFunc(slow)}).Serve(l)
		<-ctx.Done()
		time.Sleep(c.Propagation)
		return nil
	}
	report, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	t.Logf("\n%s", report)
	assert.NotZero(t, report.Lost())
}

func TestServerThatLeavesUntoldIsAnError(t *testing.T) {
	c := config
	var calls atomic.Int32
	c.Serve = func(ctx context.Context, l net.Listener) error {
		if calls.Add(1) == 1 {
			return nil
		}
		return drained(ctx, l)
	}
	_, err := draintest.Roll(t.Context(), c)
	assert.EqualError(t, err, "draintest: the server left before it was told to")
}

func TestOutputIsWrittenByOneAtATime(t *testing.T) {
	c := self("chatty")
	var b bytes.Buffer
	c.Output = &b
	_, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	assert.Contains(t, b.String(), "line\n")
}

// A Roll that waited for it would take longer than the test may.
func TestOrphanWithTheOutputOpenIsNotWaitedFor(t *testing.T) {
	c := self("drains")
	c.Command = []string{"/bin/sh", "-c", "sleep 36000 & exec " + os.Args[0]}
	report, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	assert.Zero(t, report.Lost(), "%s", report)
}

// A shell ends by SIGTERM and leaves its server running.
func TestServerOfAWrapperIsKilled(t *testing.T) {
	c := self("drains")
	c.Command = []string{"/bin/sh", "-c", "echo port $PORT; " + os.Args[0] + " & wait"}
	var b bytes.Buffer
	c.Output = &b
	_, err := draintest.Roll(t.Context(), c)
	assert.ErrorContains(t, err, "the server left with an error: signal: terminated")
	ports := regexp.MustCompile(`port (\d+)`).FindAllStringSubmatch(b.String(), -1)
	require.Len(t, ports, 2, "one was told to leave, the other was killed by Roll")
	for _, port := range ports {
		assert.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", "127.0.0.1:"+port[1])
			if err == nil {
				conn.Close()
			}
			return err != nil
		}, time.Minute, 10*time.Millisecond, "a server is left behind")
	}
}

func TestEndOfContextDoesNotWaitForRequestsThatHang(t *testing.T) {
	c := config
	c.Settle = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Serve = func(ctx context.Context, l net.Listener) error {
		go (&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			hang(w, r)
		})}).Serve(l)
		<-ctx.Done()
		return nil
	}
	report, err := draintest.Roll(ctx, c)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, report.Total().Timeout)
}
