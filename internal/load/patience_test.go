// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPatienceLastsAsLongAsItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t0, over := time.Now(), make(chan time.Time)
		p := lose(time.Second, func() { over <- time.Now() })
		assert.Equal(t, time.Second, (<-over).Sub(t0))
		assert.False(t, p.stop())
		assert.ErrorIs(t, p.judge(errors.New("given up")), os.ErrDeadlineExceeded)
		assert.NoError(t, p.judge(nil))

		p = lose(time.Second, func() { t.Error("called after stop") })
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		refused := errors.New("refused")
		assert.Equal(t, refused, p.judge(refused))
		assert.False(t, p.stop(), "it is over")
		time.Sleep(time.Hour)
	})
}

// standsEnv makes the test binary a process that says when a patience begins, and how long
// it has lasted.
const standsEnv = "LAMEDUCK_TEST_PATIENCE"

func TestPatienceOfAProcessThatStandsStill(t *testing.T) {
	const length, stop = time.Second, 2 * time.Second
	if os.Getenv(standsEnv) != "" {
		t0, over := time.Now(), make(chan struct{})
		lose(length, func() { close(over) })
		fmt.Println("begun")
		<-over
		fmt.Println(time.Since(t0))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), standsEnv+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "begun" {
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(stop) // this is what is tested
	require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	require.True(t, lines.Scan(), lines.Err())
	lasted, err := time.ParseDuration(lines.Text())
	for lines.Scan() {
	}
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	assert.Greater(t, lasted, stop+length/2, "what it stood still for is not what it waited")
}

// A connection that is not made in time is a Timeout, in both protocols.
func TestDialIsGivenUp(t *testing.T) {
	for _, proto := range []string{"", "h2c"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := &Client{
				Kind: Kind{Proto: proto},
				Path: "/",
				Dial: func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				},
				Record: func(r Result) {
					assert.Equal(t, Timeout, r.Cause, "%v", r.Err)
					assert.Equal(t, dialTimeout, r.Latency)
					cancel()
				},
			}
			c.Run(ctx)
		})
	}
}
