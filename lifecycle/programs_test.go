// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build unix

package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle"
)

func init() {
	programs["slow to stop"] = slowToStop
	programs["host"] = host
	programs["shutdown that hangs"] = func() {
		lifecycle.MainThatHangs(&lifecycle.App{Reserve: 6 * time.Second, Components: []lifecycle.Component{
			{Name: "guilty", Drain: func(context.Context) error { return nil }},
		}})
	}
	programs["two servers"] = twoServers
}

// launch starts one of the programs.
func launch(t testing.TB, name string, env ...string) *proc.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(proc.Environ(), programEnv+"="+name), env...)
	p, err := proc.Start(t, cmd)
	require.NoError(t, err)
	return p
}

const patience = time.Minute

// slowToStop takes a minute to stop.
func slowToStop() {
	lifecycle.Main(&lifecycle.App{GracePeriod: 10 * time.Minute, Components: []lifecycle.Component{
		{Name: "slow", Stop: func(context.Context) error { fmt.Println("stopping"); time.Sleep(time.Minute); return nil }},
	}})
}

// TestTwoSignalsAtOnceAreTwo: both wait while the process does not run, and come in the
// same moment, on one processor before anybody can take the first. Which of them is the
// second is the kernel's choice.
func TestTwoSignalsAtOnceAreTwo(t *testing.T) {
	t.Parallel()
	for range 5 {
		p := launch(t, "slow to stop", "GOMAXPROCS=1")
		p.Await("instant=Started", patience)
		for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGTERM, syscall.SIGINT} {
			require.NoError(t, p.Signal(s))
		}
		status, _ := p.End(syscall.SIGCONT, patience/2)
		assert.Contains(t, []int{130, 143}, status, p.Output())
		assert.Contains(t, p.Output(), "second signal, leaving at once")
	}
}

func TestSecondSignalOfTheOtherKindEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		first, second syscall.Signal
		status        int
	}{{syscall.SIGINT, syscall.SIGTERM, 143}, {syscall.SIGTERM, syscall.SIGINT, 130}, {syscall.SIGINT, syscall.SIGINT, 130}} {
		t.Run(fmt.Sprint(tt.first, ", ", tt.second), func(t *testing.T) {
			t.Parallel()
			p := launch(t, "slow to stop")
			p.Await("instant=Started", patience)
			require.NoError(t, p.Signal(tt.first))
			p.Await("stopping", patience)
			status, _ := p.End(tt.second, patience/2)
			assert.Equal(t, tt.status, status, p.Output())
			assert.Contains(t, p.Output(), `reason="signal: `+tt.first.String()+`"`)
		})
	}
}

// TestQuitDumpsTheStacks: SIGQUIT is the runtime's, before the shutdown and during it.
func TestQuitDumpsTheStacks(t *testing.T) {
	for _, during := range []bool{false, true} {
		t.Run(fmt.Sprint("during the shutdown: ", during), func(t *testing.T) {
			t.Parallel()
			p := launch(t, "slow to stop")
			p.Await("instant=Started", patience)
			if during {
				require.NoError(t, p.Signal(syscall.SIGTERM))
				p.Await("stopping", patience)
			}
			status, _ := p.End(syscall.SIGQUIT, patience/2)
			assert.Equal(t, 2, status)
			assert.Contains(t, p.Output(), "SIGQUIT: quit")
			assert.Contains(t, p.Output(), "lifecycle.(*App).main", "the stack of goroutine 1")
			assert.Equal(t, during, p.Line("lifecycle_test.slowToStop.func1") != "", "the stack of the stop")
		})
	}
}

// host embeds an App by Run, and has the signals for itself.
func host() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(context.Background())
	app := &lifecycle.App{Components: []lifecycle.Component{{Name: "embedded", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}}}
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	for range 3 {
		fmt.Println("host:", <-signals)
	}
	cancel(fmt.Errorf("the host has had enough"))
	err := <-done
	fmt.Println("host:", <-signals, err) // theirs still when Run has returned
	os.Exit(9)
}

// TestSignalsStayTheHosts: Run(ctx) neither takes them nor gives them back to the
// system.
func TestSignalsStayTheHosts(t *testing.T) {
	t.Parallel()
	p := launch(t, "host")
	p.Await("instant=Started", patience)
	for i, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM} {
		require.NoError(t, p.Signal(s))
		require.Eventually(t, func() bool { return len(hostLines(p)) > i }, patience, time.Millisecond)
	}
	p.Await("instant=Exited", patience)
	status, _ := p.End(syscall.SIGTERM, patience/2)
	assert.Equal(t, 9, status)
	assert.Equal(t, []string{"host: terminated\n", "host: interrupt\n", "host: terminated\n", "host: terminated <nil>\n"}, hostLines(p))
	assert.Contains(t, p.Output(), `reason="the host has had enough"`)
}

func hostLines(p *proc.Process) []string { return lines(p.Output(), "host: ") }

// TestShutdownThatHangsItselfIsLeft: nothing of Main's but its own watch is left then.
func TestShutdownThatHangsItselfIsLeft(t *testing.T) {
	t.Parallel()
	const grace = 8 * time.Second
	steadily(t, func(t *trial) {
		p := launch(t, "shutdown that hangs", "GRACE_PERIOD="+grace.String())
		p.Await("instant=Started", patience)
		t0 := t.clock.Now()
		status, _ := p.End(syscall.SIGTERM, patience)
		assert.Less(t, t.clock.Now()-t0, grace) // when SIGKILL would come
		assert.Equal(t, 4, status, p.Output())
		assert.Contains(t, p.Output(), "guilty")
	})
}

// twoServers closes the accept window of one server at once, and that of the other
// after two seconds.
func twoServers() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "not a hook", http.StatusTeapot) })
	server := func(name string, floor time.Duration) lifecycle.Component {
		return lifecycle.Component{Name: name, Server: &drain.Server{
			HTTP: &http.Server{Addr: os.Getenv(name), Handler: handler}, Floor: floor, Quiet: time.Millisecond,
		}}
	}
	app := &lifecycle.App{
		ProbeAddr:    os.Getenv("PROBE_ADDR"),
		PreStopToken: "secret",
		Components:   []lifecycle.Component{server("FAST", -1), server("SLOW", 2*time.Second)},
	}
	if os.Getenv("ORDER") == "slow first" {
		app.Components[0], app.Components[1] = app.Components[1], app.Components[0]
	}
	lifecycle.Main(app)
}

// TestPreStopHookWaitsForEveryServer: whichever is the last, and however often it is
// asked; a signal that comes meanwhile is the first one.
func TestPreStopHookWaitsForEveryServer(t *testing.T) {
	for _, order := range []string{"fast first", "slow first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			fast, slow, probes := proc.FreeAddr(t), proc.FreeAddr(t), proc.FreeAddr(t)
			p := launch(t, "two servers", "FAST="+fast, "SLOW="+slow, "PROBE_ADDR="+probes, "ORDER="+order)
			p.Await("instant=Started", patience)
			ask := func(addr string) (status int, body string) {
				r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/prestop", nil)
				if !assert.NoError(t, err) {
					return 0, ""
				}
				r.Header.Set("Authorization", "Bearer secret")
				resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
				if err != nil {
					return 0, err.Error()
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				return resp.StatusCode, string(b)
			}
			for _, addr := range []string{fast, slow} {
				status, _ := ask(addr)
				assert.Equal(t, http.StatusTeapot, status, "it is on the probe listener alone")
			}
			type answer struct {
				status int
				body   string
				open   bool // a server was
			}
			answers := make(chan answer, 3)
			for range cap(answers) {
				go func() {
					var a answer
					a.status, a.body = ask(probes)
					for _, addr := range []string{fast, slow} {
						status, _ := ask(addr)
						a.open = a.open || status != 0
					}
					answers <- a
				}()
			}
			p.Await("instant=ShutdownInitiated", patience)
			require.NoError(t, p.Signal(syscall.SIGTERM))
			for range cap(answers) {
				assert.Equal(t, answer{200, "the accept window is over\n", false}, <-answers)
			}
			status, _ := p.Wait()
			assert.Equal(t, 0, status, p.Output())
			assert.Len(t, lines(p.Output(), "instant=ShutdownInitiated"), 1)
			assert.Len(t, lines(p.Output(), "instant=AcceptWindowClosed"), 2)
		})
	}
}
