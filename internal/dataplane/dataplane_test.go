// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/load"
)

const (
	programEnv = "DATAPLANE_TEST_PROGRAM" // makes the test binary the program
	limit      = 60 * time.Second         // after which a test that waits has failed
)

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// program returns the rig's command. It is skipped where the rig would be.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip(err)
	}
	if !installed("nftables") {
		t.Skip("nft is not installed")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), programEnv+"=1", "TMPDIR="+t.TempDir(), requiredEnv+"=")
	return cmd
}

// small has one replica end on one data plane, in each way that is given.
func small(strategies string) []string {
	return []string{"-parts", "planes", "-planes", "nftables", "-strategies", strategies, "-clients", "", "-terminations", "1", "-naive", "1"}
}

func TestRig(t *testing.T) {
	t.Parallel()
	out, err := program(t, append(small("shutdown,lameduck"), "-seed", "1")...).CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "nftables, lameduck: done")
	assert.Contains(t, string(out), ", 1 ended, 0 lost of ")
	assert.NotContains(t, string(out), "FAIL")
}

// inside returns the processes that have the directory of an enclosure in their
// environment, and the namespaces that they are in.
func inside(dir string) (pids []string, namespaces map[string]bool) {
	namespaces = make(map[string]bool)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, _ := os.ReadFile(f)
		if !bytes.Contains(env, []byte(insideEnv+"="+dir)) {
			continue
		}
		pids = append(pids, filepath.Base(filepath.Dir(f)))
		for _, ns := range []string{"net", "pid", "mnt"} {
			if name, err := os.Readlink(filepath.Join(filepath.Dir(f), "ns", ns)); err == nil {
				namespaces[name] = true
			}
		}
	}
	return pids, namespaces
}

// held returns those of the namespaces that some process is in.
func held(namespaces map[string]bool) (names []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/*")
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && namespaces[name] {
			names = append(names, name)
		}
	}
	return names
}

// Whatever ends a rig, nothing of it is left: no process, no namespace, and so no
// rule, and no file but, after a SIGKILL, an empty directory.
func TestNothingIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		path   string // goes before PATH
		status int
	}{
		{name: "SIGINT", signal: syscall.SIGINT, status: 3},
		{name: "SIGTERM", signal: syscall.SIGTERM, status: 3},
		{name: "SIGKILL", signal: syscall.SIGKILL, status: -1},
		{name: "nft fails", path: nft(t, "*service*"), status: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := program(t, small(lameduck)...)
			cmd.Env = append(cmd.Env, "PATH="+tt.path+":"+os.Getenv("PATH"))
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			require.NoError(t, cmd.Start())
			defer cmd.Process.Kill()
			lines := bufio.NewScanner(stdout)
			require.True(t, lines.Scan(), "it says its seed first")
			dir := enclosure(t, cmd)
			var namespaces map[string]bool
			if tt.signal != 0 {
				require.Eventually(t, func() bool {
					var pids []string
					pids, namespaces = inside(dir)
					return len(pids) > replicas
				}, limit, 10*time.Millisecond)
				require.GreaterOrEqual(t, len(namespaces), 3+replicas, "the enclosure's, and each replica's network")
				require.NoError(t, cmd.Process.Signal(tt.signal))
			}
			rest, err := io.ReadAll(stdout)
			assert.NoError(t, err)
			assert.Empty(t, string(rest), "it goes on")
			err = cmd.Wait()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit), "%v\n%s%s", err, rest, &stderr)
			assert.Equal(t, tt.status, exit.ExitCode(), "%s", &stderr)
			assert.Eventually(t, func() bool {
				pids, _ := inside(dir)
				return len(pids) == 0 && len(held(namespaces)) == 0
			}, limit, 10*time.Millisecond)
			files, _ := os.ReadDir(dir)
			assert.Empty(t, files)
			if tt.signal != syscall.SIGKILL {
				assert.NoDirExists(t, dir)
			}
		})
	}
}

// nft returns a directory with an nft that fails for rules that match a pattern.
func nft(t *testing.T, pattern string) string {
	dir := t.TempDir()
	script := "#!/bin/sh\ncase $(cat) in " + pattern + ") echo no such rule >&2; exit 1;; esac\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nft"), []byte(script), 0o755))
	return dir
}

// A kernel without what the rules take has no nftables plane, which is said, and is
// no failure unless it is required.
func TestWithoutKernelSupport(t *testing.T) {
	t.Parallel()
	for required, status := range map[string]int{"": 0, "required": 3} {
		cmd := program(t, small(lameduck)...)
		cmd.Env = append(cmd.Env, "PATH="+nft(t, "*")+":"+os.Getenv("PATH"), requiredEnv+"="+required)
		out, _ := cmd.CombinedOutput()
		assert.Equal(t, status, cmd.ProcessState.ExitCode(), "%s", out)
		assert.Contains(t, string(out), "left out: nftables (nft: exit status 1: no such rule)")
	}
}

// enclosure returns the directory of the enclosure that a command has made.
func enclosure(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	for _, env := range slices.Backward(cmd.Env) { // the last one counts
		if tmp, ok := strings.CutPrefix(env, "TMPDIR="); ok {
			dirs, err := filepath.Glob(filepath.Join(tmp, "dataplane*"))
			require.NoError(t, err)
			require.Len(t, dirs, 1)
			return dirs[0]
		}
	}
	panic("no TMPDIR")
}

func TestPropagation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var all []time.Duration
	for range 100_000 {
		all = append(all, drawn(r))
	}
	slices.Sort(all)
	assert.InDelta(t, propagationP50.Seconds(), all[len(all)/2].Seconds(), 0.05)
	assert.InDelta(t, propagationP99.Seconds(), all[len(all)*99/100].Seconds(), 0.3)
	assert.Equal(t, beyondCap, fixed(beyondCap)(r))
}

func TestBooks(t *testing.T) {
	b := newBooks()
	at := time.Now()
	client := func(id uint64, cause load.Cause) {
		r := load.Result{Kind: load.Kind{Name: "POST"}, ID: id, Cause: cause, Start: at, Latency: time.Second}
		if cause != load.OK {
			r.Err = io.EOF
		}
		b.client(r)
	}
	server := func(events ...string) {
		for _, e := range events {
			b.server(e)
		}
	}
	const id = "000000000000000"
	client(1, load.OK)
	server("+"+id+"1", "-"+id+"1")
	client(2, load.Refused) // never ran
	client(3, load.Closed)  // into the void
	server("+"+id+"3", "-"+id+"3")
	client(4, load.Reset) // cut while it ran
	server("+" + id + "4")
	client(5, load.OK) // twice
	server("+"+id+"5", "+"+id+"5", "-"+id+"5")
	assert.Equal(t, balance{sent: 5, answered: 2, neverRan: 1, void: 1, twice: 1}, b.balance())

	client(6, load.OK)     // by nobody
	server("+" + id + "7") // not sent
	assert.Equal(t, 2, b.balance().orphans)

	server("+wrk", "-wrk", "+", "")
	assert.Equal(t, map[string]int{"wrk": 1, "": 1}, b.foreign)
	assert.Equal(t, 3, b.between(at, at.Add(2*time.Second)))
	assert.Zero(t, b.between(at, at.Add(time.Second)))
	assert.Equal(t, []loss{{at.Add(time.Second), "POST", io.EOF}}, b.firstLosses(1))
	assert.Len(t, b.firstLosses(10), 3)
	assert.Equal(t, 3, b.kinds["POST"].lost())
}

// What is here of each client's output are the lines that are read.
func TestForeignOutput(t *testing.T) {
	for _, tt := range []struct {
		name       string
		parse      func(string) (sent, lost int, err error)
		out        string
		sent, lost int
	}{
		{"fortio", parseFortio, "Code  -1 : 7 (0.1 %)\nCode 200 : 5541 (99.7 %)\nCode 503 : 10 (0.2 %)\n", 5558, 17},
		{"wrk", parseWrk, "  350 requests in 10.01s, 47.16KB read\n  Socket errors: connect 3, read 2, write 1, timeout 4\n  Non-2xx or 3xx responses: 5\n", 360, 15},
		{"hey", parseHey, "Status code distribution:\n  [200]\t169 responses\n  [502]\t3 responses\n\nError distribution:\n" +
			"  [2]\tPost \"http://10.77.0.2:80/\": dial tcp 10.77.0.2:80: connect: connection refused\n", 174, 5},
		{"h2load", parseH2load, "requests: 60 total, 19 started, 19 done, 18 succeeded, 42 failed, 41 errored, 0 timeout\n" +
			"status codes: 18 2xx, 0 3xx, 0 4xx, 1 5xx\n", 19, 1},
	} {
		sent, lost, err := tt.parse(tt.out)
		assert.NoError(t, err, tt.name)
		assert.Equal(t, []int{tt.sent, tt.lost}, []int{sent, lost}, tt.name)
		_, _, err = tt.parse("usage: ...")
		assert.ErrorIs(t, err, errOutput, tt.name)
	}
}

func TestArticleIsPrintedAsTheArticleDoes(t *testing.T) {
	a := &article{strategy: shutdown, length: time.Minute, rollout: 2800 * time.Millisecond, ended: []termination{{propagation: 1500 * time.Millisecond}, {propagation: 6800 * time.Millisecond}}, out: `
# target 99.9% 0.906417
Error cases : count 7 avg 0.01
# target 99.9% 0.0232843
# Socket and IP used for each connection:
Sockets used: 18 (for perfect keepalive, would be 8)
Code  -1 : 7 (0.1 %)
Code 200 : 7210 (99.9 %)
All done 7217 calls (plus 8 warmup) 66.5 ms avg, 120.2 qps
`}
	var out bytes.Buffer
	a.print(&out)
	assert.Equal(t, `shutdown: fortio load -a -c 8 -qps 1000 -t 1m0s
    # target 99.9% 0.906417
    Sockets used: 18 (for perfect keepalive, would be 8)
    Code  -1 : 7 (0.1 %)
    Code 200 : 7210 (99.9 %)
    All done 7217 calls (plus 8 warmup) 66.5 ms avg, 120.2 qps
    rollout 2.8 s; the node was told of the removals after 1.5 6.8 s

`, out.String())
}

func TestArticleFault(t *testing.T) {
	const lost = "Code  -1 : 7 (0.1 %)\nCode 200 : 7210 (99.9 %)\n"
	for _, tt := range []struct {
		name string
		a    article
		want string
	}{
		{"nothing lost", article{strategy: lameduck, out: "Code 200 : 7210 (100.0 %)\n"}, ""},
		{"lost", article{strategy: lameduck, out: lost, ended: []termination{{late: true}}}, "7 lost"},
		{"lost after the cap", article{strategy: lameduck, out: lost, ended: []termination{{}, {late: true, capped: true}}}, ""},
		{"lost by the others", article{strategy: shutdown, out: lost}, ""},
		{"fortio has failed", article{strategy: lameduck, out: "flag provided but not defined\n"}, "fortio: not the output that was expected: flag provided but not defined"},
	} {
		assert.Equal(t, tt.want, tt.a.fault(), tt.name)
	}
}

func TestFault(t *testing.T) {
	lost := func(n int) balance { return balance{sent: 100, answered: 100 - n} }
	for _, tt := range []struct {
		name string
		o    outcome
		want string
	}{
		{"nothing lost", outcome{job: job{strategy: lameduck}, balance: lost(0)}, ""},
		{"lost", outcome{job: job{strategy: lameduck}, balance: lost(2)}, "2 lost"},
		{"lost after the cap", outcome{job: job{strategy: lameduck}, balance: lost(2), terminations: []termination{{capped: true, late: true, lost: 2, after: 2}}}, ""},
		{"lost before the cap", outcome{job: job{strategy: lameduck}, balance: lost(2), terminations: []termination{{capped: true, late: true, lost: 2, after: 1}}}, "1 lost"},
		{"capped, though the plane was told", outcome{job: job{strategy: lameduck}, balance: lost(2), terminations: []termination{{capped: true, lost: 2, after: 2}}}, "2 lost"},
		{"told after a quiet window", outcome{job: job{strategy: lameduck}, balance: lost(2), terminations: []termination{{late: true, lost: 2}}}, "2 lost"},
		{"elsewhere as well", outcome{job: job{strategy: lameduck}, balance: lost(3), terminations: []termination{{capped: true, late: true, lost: 2, after: 2}, {lost: 1, after: 1}}}, "1 lost"},
		{"foreign", outcome{job: job{strategy: lameduck}, balance: lost(0), foreign: []tallied{{lost: 1}}}, "clients of others have lost 1"},
		{"foreign alone, after the cap", outcome{job: job{strategy: lameduck}, balance: lost(0), foreign: []tallied{{lost: 1}}, terminations: []termination{{capped: true, late: true}}}, ""},
		{"held until the end", outcome{job: job{strategy: lameduck}, terminations: []termination{{exit: 19 * time.Second}, {exit: 20 * time.Second}}},
			"1 of 2 were held until their last connections were ended: nobody had told them to go"},
		{"the sleep may be", outcome{job: job{strategy: sleep}, terminations: []termination{{exit: 25 * time.Second}}}, ""},
		{"the baseline", outcome{job: job{strategy: shutdown}, balance: lost(9)}, ""},
		{"the baseline loses nothing", outcome{job: job{strategy: shutdown}, balance: lost(0)}, "the baseline loses nothing, so this tests nothing"},
		{"beyond", outcome{job: job{strategy: lameduck, beyond: true}, balance: lost(2), terminations: []termination{{capped: true, late: true, lost: 2, after: 2}}}, ""},
		{"beyond and nothing lost", outcome{job: job{strategy: lameduck, beyond: true}, balance: lost(0), terminations: []termination{{capped: true, late: true}}},
			"a propagation beyond the cap loses nothing, so this tests nothing"},
		{"the sleep may", outcome{job: job{strategy: sleep}, balance: lost(0)}, ""},
		{"books of others", outcome{job: job{strategy: sleep}, foreign: []tallied{{name: "wrk", sent: 9, lost: 1, ran: 7}}},
			"the books do not balance: wrk has 8 answers, and the replicas have run 7 of its requests"},
		{"books", outcome{job: job{strategy: sleep}, balance: balance{orphans: 1}}, "the books do not balance: 1 requests are on one side only"},
	} {
		assert.Equal(t, tt.want, tt.o.fault(), tt.name)
	}
}

func TestWindows(t *testing.T) {
	o := outcome{job: job{name: "nftables", plane: "nftables", strategy: lameduck}, terminations: []termination{
		{propagation: time.Second}, {propagation: 2 * time.Second, late: true, lost: 1}, {propagation: 25 * time.Second, late: true, capped: true, lost: 9},
	}}
	assert.Equal(t, "nftables, lameduck: propagation 2.0 s at the median, 25.0 s at worst; "+
		"2 of 3 were told after the replica had closed its listener: 10 lost there; "+
		"in 1 of 3 the accept window was closed by its cap: 9 lost there", o.windows())
	o.plane = "caddy"
	assert.Equal(t, "nftables, lameduck: in 1 of 3 the accept window was closed by its cap: 9 lost there", o.windows())
}

func TestLossLines(t *testing.T) {
	at := time.Now().Add(-time.Minute)
	o := outcome{job: job{strategy: sleep}, books: newBooks(), terminations: []termination{
		{begin: at.Add(time.Second)}, {begin: at.Add(10 * time.Second), exit: 5 * time.Second},
	}}
	for _, l := range []load.Result{
		{Kind: load.Kind{Name: "GET"}, Start: at},
		{Kind: load.Kind{Name: "POST"}, Start: at.Add(13 * time.Second), Latency: 250 * time.Millisecond},
		{Kind: load.Kind{Name: "POST"}, Start: at.Add(14 * time.Second)},
	} {
		l.Cause, l.Err = load.Closed, io.EOF
		o.books.client(l)
	}
	want := []string{
		"GET, before the first termination: EOF",
		"POST, 3.250 s after termination 2 began, whose replica took 5.000 s to leave: EOF",
		"POST, 4.000 s after termination 2 began, whose replica took 5.000 s to leave: EOF",
	}
	assert.Equal(t, want[:2], o.lossLines())
	o.strategy = lameduck
	assert.Equal(t, want, o.lossLines())
	o.settle()
	assert.Equal(t, []int{0, 2}, []int{o.terminations[0].lost, o.terminations[1].lost})
	assert.Equal(t, []int{0, 2}, []int{o.terminations[0].after, o.terminations[1].after})
	o.terminations[1].closed = at.Add(13*time.Second + 500*time.Millisecond + closeSlack)
	o.settle()
	assert.Equal(t, 1, o.terminations[1].after)
}

func TestFlags(t *testing.T) {
	c, err := parse([]string{"-planes", "caddy,nginx", "-clients", ""}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []string{"caddy", "nginx"}, c.planes)
	assert.Empty(t, c.clients)
	assert.Equal(t, allParts, c.parts)
	for _, args := range [][]string{{"-planes", "apache"}, {"-terminations", "0"}, {"-article", "20s"}, {"now"}} {
		_, err := parse(args, io.Discard)
		assert.Error(t, err, args)
	}
}
