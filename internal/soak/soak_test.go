// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain/draintest"
)

// argsEnv makes the test binary the program, with these arguments: one that leaks on
// purpose has to have a process of its own.
const argsEnv = "LAMEDUCK_TEST_SOAK"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		os.Exit(parentOfAReplica())
	}
	if os.Getenv(replicaEnv) != "" {
		os.Exit(replica()) // as main does: the replicas are this program
	}
	if args := os.Getenv(argsEnv); args != "" {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// soakWith runs the program.
func soakWith(t *testing.T, args string) (status int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), argsEnv+"="+args, "GORACE=halt_on_error=1")
	b, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

func TestSoak(t *testing.T) {
	status, out := soakWith(t, "-for 0s -rounds 1 -terminations 1 -cycles 3")
	t.Log(out)
	assert.Zero(t, status)
	assert.Regexp(t, `\n2 replicas were terminated, 3 apps only started and stopped, 0 of [1-9]\d* requests were lost\n$`, out)
}

func TestSoakOfCycles(t *testing.T) {
	status, out := soakWith(t, "-for 0s -rounds 4 -mode apps -terminations 0 -cycles 3")
	t.Log(out)
	assert.NotContains(t, out, "FAULT: goroutines")
	assert.NotContains(t, out, "FAULT: file descriptors")
	assert.Zero(t, status)
	assert.Contains(t, out, "12 apps only started and stopped, 0 of 0 requests")
}

// TestSoakFindsALeak has the service leak, here and in replicas.
func TestSoakFindsALeak(t *testing.T) {
	const cycles = "-rest 50ms -for 0s -rounds 4 -mode apps -terminations 0 -cycles 3 -leak "
	const roll = "-rest 50ms -for 0s -rounds 1 -terminations 1 -cycles 0 -leak "
	for name, tt := range map[string]struct{ args, want string }{
		"goroutines here":         {cycles + "goroutine", `\nFAULT: goroutines `},
		"descriptors here":        {cycles + "descriptor", `\nFAULT: file descriptors `},
		"memory here":             {cycles + "memory", `\nFAULT: heap `},
		"goroutine in a replica":  {roll + "goroutine -mode processes", `\nFAULT: a replica has 1 goroutines more at its end than at its beginning\n`},
		"descriptor in a replica": {roll + "descriptor -mode processes", `\nFAULT: a replica has 1 file descriptors more at its end than at its beginning\n`},
		"a lost request":          {roll + "request -mode apps", `\nFAULT: [1-9]\d* of \d+ requests were lost; the first: answer: 503 Service Unavailable\n`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out := soakWith(t, tt.args)
			if strings.Contains(tt.want, "descriptor") && descriptors() == unknown {
				t.Skip("this system does not tell")
			}
			assert.Equal(t, 1, status, out)
			assert.Regexp(t, tt.want, out)
		})
	}
}

// TestSoakIsInterrupted at once: it says what there is, which is nothing.
func TestSoakIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := parse([]string{"-mode", "apps", "-terminations", "0"}, io.Discard)
	require.NoError(t, err)
	var out strings.Builder
	assert.Zero(t, run(ctx, c, &out))
	assert.Contains(t, out.String(), "0 of 0 requests were lost")
}

// TestSoakThatIsInterruptedHasLostNothing has a roll cut short after requests that were
// lost, as those are that a replica has when it is killed.
func TestSoakThatIsInterruptedHasLostNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := new(soaking)
	err := s.roll(ctx, draintest.Config{Serve: func(serving context.Context, l net.Listener) error {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "lost", http.StatusServiceUnavailable)
			cancel()
		})}
		defer context.AfterFunc(serving, func() { srv.Close() })()
		srv.Serve(l)
		return nil
	}})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, s.curve.rolls.Lost())
	assert.Empty(t, s.curve.faults())
}

func TestParse(t *testing.T) {
	c, err := parse([]string{"-for", "40s"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, 2*time.Second, c.every)
	for args, want := range map[string]string{
		"more":             `unexpected argument "more"`,
		"-for -1s":         "-for -1s is negative",
		"-rounds -1":       "-rounds -1 is negative",
		"-every -1s":       "-every -1s is negative",
		"-mode ":           `-mode "" is neither`,
		"-mode nothing":    `-mode "nothing" is neither`,
		"-terminations -1": "-terminations -1 is negative",
		"-cycles -1":       "-cycles -1 is negative",
		"-floor 0s":        "-floor 0s: want",
		"-floor 16s":       "-floor 16s: want",
		"-rest -1s":        "-rest -1s is negative",
		"-leak water":      `-leak "water" is none of`,
	} {
		_, err := parse(strings.Split(args, " "), io.Discard)
		assert.ErrorContains(t, err, want)
	}
}

// aCurve returns one of n points, each of which f sets.
func aCurve(n int, f func(i int, p *point)) *curve {
	c := new(curve)
	for i := range n {
		p := point{own: holds{3, 9, 1 << 20, 20 << 20}, replicas: holds{0, 0, 1 << 20, 20 << 20}}
		f(i, &p)
		c.points = append(c.points, p)
	}
	return c
}

func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		n    int
		set  func(i int, p *point)
		want []string // the beginning of each
	}{
		"flat":                   {40, func(int, *point) {}, nil},
		"too short to say":       {3, func(i int, p *point) { p.own.Goroutines += i }, nil},
		"one goroutine more":     {40, func(i int, p *point) { p.own.Goroutines += i / 30 }, []string{"goroutines "}},
		"one goroutine fewer":    {40, func(i int, p *point) { p.own.Goroutines -= i / 30 }, nil},
		"one that came and went": {40, func(i int, p *point) { p.own.Goroutines += i % 10 / 9 }, nil},
		"a descriptor":           {4, func(i int, p *point) { p.own.Descriptors += i / 3 }, []string{"file descriptors "}},
		"the heap, to its bound": {4, func(i int, p *point) { p.own.Heap += i * heapBound / 3 }, nil},
		"the heap":               {4, func(i int, p *point) { p.own.Heap += i * (heapBound + 3) / 3 }, []string{"heap "}},
		"what is resident":       {4, func(i int, p *point) { p.own.Resident += i * residentBound }, []string{"RSS "}},
		"a replica's heap":       {4, func(i int, p *point) { p.replicas.Heap += i * heapBound }, []string{"heap of a replica "}},
		"what is resident of it": {4, func(i int, p *point) { p.replicas.Resident += i * residentBound }, []string{"RSS of a replica "}},
		"a replica's goroutine":  {9, func(i int, p *point) { p.replicas.Goroutines = i / 8 }, []string{"a replica has 1 goroutines more"}},
		"a replica's descriptor": {9, func(i int, p *point) { p.replicas.Descriptors = i / 8 }, []string{"a replica has 1 file descriptors more"}},
		"nothing is known": {8, func(_ int, p *point) {
			p.own.Descriptors, p.own.Resident, p.replicas = unknown, unknown, holds{-1, -1, -1, -1}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := aCurve(tt.n, tt.set).faults()
			require.Len(t, got, len(tt.want), got)
			for i, want := range tt.want {
				assert.Regexp(t, "^"+regexp.QuoteMeta(want), got[i])
			}
		})
	}
}

func TestALossIsAFault(t *testing.T) {
	c := aCurve(8, func(int, *point) {})
	c.rolls.Kinds = []draintest.KindReport{{Kind: "a", Sent: 5, OK: 4, Reset: 1, FirstLoss: io.EOF}}
	assert.Equal(t, []string{"1 of 5 requests were lost; the first: EOF"}, c.faults())
}

// TestTable has some of the points: the first, the last and those between, evenly.
func TestTable(t *testing.T) {
	c := aCurve(100, func(i int, p *point) { p.terminations = i })
	table := c.String()
	got := regexp.MustCompile(`(?m)^ +0s +(\d+) `).FindAllStringSubmatch(table, -1)
	require.Len(t, got, rows)
	assert.Equal(t, "0", got[0][1])
	assert.Equal(t, "99", got[rows-1][1])
	assert.Contains(t, table, "\nRSS                                20.00Mi in the first quarter,   20.00Mi in the last, bound +16.00Mi\n")
	assert.Contains(t, aCurve(1, func(int, *point) {}).String(), " 20.00Mi\n0 replicas")
}
