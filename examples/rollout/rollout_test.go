// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if strategy := os.Getenv(strategyEnv); strategy != "" {
		replica(strategy) // as main does: the replicas are this program
		return
	}
	goleak.VerifyTestMain(m)
}

// TestRollout does the main job, small: the naive strategy loses requests, and
// Lameduck none.
func TestRollout(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sub", "page.html")
	c, err := parse([]string{
		"-replicas", "2", "-rate", "600", "-clients", "30", "-propagation", "400ms", "-floor", "400ms",
		"-strategies", "shutdown,lameduck", "-json", "-out", out,
	}, io.Discard)
	require.NoError(t, err)
	var stdout, stderr bytes.Buffer
	code, err := run(t.Context(), c, &stdout, &stderr)
	require.NoError(t, err)
	t.Log(stderr.String())
	assert.Contains(t, stderr.String(), "\ntimeline: "+out+"\n")

	var got []summary
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &got))
	require.Len(t, got, 2)
	assert.NotZero(t, got[0].Lost, "the baseline loses nothing, so this test tests nothing")
	assert.Equal(t, "lameduck", got[1].Strategy)
	assert.Zero(t, got[1].Lost)
	assert.Zero(t, code)
	for _, s := range got {
		assert.Equal(t, s.Sent, s.OK+s.Lost)
		assert.Equal(t, s.Lost, s.Refused+s.Reset+s.Closed+s.Other)
		assert.NotZero(t, s.P99)
	}
	assert.GreaterOrEqual(t, got[1].MedianExit, 400*time.Millisecond, "the floor")

	page, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, 2, bytes.Count(page, []byte("<svg")))
	assert.Equal(t, got[0].Lost, bytes.Count(page, []byte(`class="loss"`)), "a mark for each lost request")
	for _, phase := range []string{"starting", "serving", "accept-window", "lingering", "stopping"} {
		assert.Contains(t, string(page), `class="`+phase+`"`)
	}
	for _, instant := range wayDown {
		assert.Contains(t, string(page), "replica 2: "+instant+" at ")
	}
	assert.Equal(t, 1, bytes.Count(page, []byte("After T0, in the median: AcceptWindowClosed ")), "of the one that tells all")
	assert.NotContains(t, string(page), "<script")
}

func TestParse(t *testing.T) {
	c, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, allStrategies, c.strategies)

	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-replicas", "0"}, "-replicas 0: want 1 to 20"},
		{[]string{"-rate", "-1"}, "-rate -1: want 1 to 20000"},
		{[]string{"-clients", "1"}, "-clients 1: want 4 to 2000"},
		{[]string{"-propagation", "1h"}, "-propagation 1h0m0s: want 0s to 20s"},
		{[]string{"-floor", "-1s"}, "-floor -1s: want 0s to 15s"},
		{[]string{"-sleep", "2m"}, "-sleep 2m0s: want 0s to 1m"},
		{[]string{"-floor", "16s"}, "-floor 16s: want 0s to 15s"},
		{[]string{"-out", ""}, `-out "": want a file`},
		{[]string{"-rtt", "-1s"}, "-rtt -1s: want 0s to 1s"},
		{[]string{"-strategies", "exit,luck"}, `-strategies: "luck" is none of exit, shutdown, sleep, lameduck`},
		{[]string{"-floor", "two"}, `invalid value "two" for flag -floor: parse error`},
		{[]string{"-nonsense"}, "flag provided but not defined: -nonsense"},
		{[]string{"extra"}, `unexpected argument "extra"`},
	} {
		_, err := parse(tt.args, io.Discard)
		assert.EqualError(t, err, tt.want)
	}
	var usage bytes.Buffer
	_, err = parse([]string{"-h"}, &usage)
	assert.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, usage.String(), "-propagation")
}

// The directory stands for all that cannot be written.
func TestBadOutIsFoundAtOnce(t *testing.T) {
	c, err := parse([]string{"-out", t.TempDir()}, io.Discard)
	require.NoError(t, err)
	var out bytes.Buffer
	code, err := run(t.Context(), c, &out, io.Discard)
	assert.ErrorContains(t, err, "-out "+c.out+": ")
	assert.Equal(t, 2, code)
	assert.Empty(t, out.String(), "no replica was started")
}

func TestCheckOutChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.html")
	require.NoError(t, checkOut(path))
	assert.NoFileExists(t, path)
	require.NoError(t, os.WriteFile(path, []byte("earlier"), 0o600))
	require.NoError(t, checkOut(path))
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "earlier", string(page))
}

// The end of this program closes the pipe, as the test does.
func TestReplicaLeavesWithItsParent(t *testing.T) {
	t.Setenv("GRACE_PERIOD", "1s") // the user's, too short for the floor
	for _, strategy := range allStrategies {
		p, err := launch(t.Context(), config{floor: 2 * time.Second}, strategy, "replica 1", time.Now())
		require.NoError(t, err)
		p.stdin.Close()
		select {
		case <-p.gone:
			assert.Equal(t, 1, p.cmd.ProcessState.ExitCode(), strategy)
		case <-time.After(time.Minute):
			p.kill()
			t.Errorf("%s: the replica is left behind", strategy)
		}
	}
}

func TestReplicaThatDoesNotStartIsNamedOnce(t *testing.T) {
	_, err := launch(t.Context(), config{floor: time.Hour}, lameduck, "replica 1", time.Now())
	assert.ErrorContains(t, err, " before it had started")
	assert.Regexp(t, "^replica 1: exit status", err.Error())
}

func TestPercentIsRoundedDown(t *testing.T) {
	assert.Equal(t, "100.0", percent(100000, 100000))
	assert.Equal(t, "99.9", percent(99999, 100000), "100.0 means all")
	assert.Equal(t, "0.0", percent(0, 0))
}

func TestBalancerForgetsLateAndKeepsConnections(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer backend.Close()
	go func() {
		for {
			c, err := backend.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	b, err := newBalancer(time.Hour, 2*time.Millisecond)
	require.NoError(t, err)
	defer b.close()
	e := &endpoint{"a", backend.Addr().String()}
	b.add(e)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", b.l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	echo := func(c net.Conn) {
		t0 := time.Now()
		_, err := c.Write([]byte("hello"))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(t0), 2*time.Millisecond, "the round trip")
	}
	kept := dial()
	echo(kept)
	b.remove(e) // known in an hour
	echo(dial())

	backend.Close()
	refused := dial()
	_, err = refused.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = refused.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	assert.Equal(t, fate{"a", true}, b.fate(refused.LocalAddr().String()))
	echo(kept)
}
