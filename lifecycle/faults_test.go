// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/memnet"
	"github.com/lameduck-go/lameduck/lifecycle"
	"github.com/lameduck-go/lameduck/probes"
)

var update = flag.Bool("update", false, "write FAULTS.md anew")

// A faultyApp is an App with one guilty component between healthy ones.
type faultyApp struct {
	*lifecycle.App
	guilty  *lifecycle.Component
	release <-chan struct{} // closed when the test is over
	*diary

	probes net.Listener // for the probes; nil: no listener
	taken  error        // of opening it
}

// listen is how the probe listener is opened.
func (f *faultyApp) listen(context.Context, string, string) (net.Listener, error) {
	return f.probes, f.taken
}

// A badListener is one whose Accept does something else.
type badListener struct {
	*memnet.Listener
	accept hook
}

func (l badListener) Accept() (net.Conn, error) { return nil, l.accept(context.Background()) }

// accept makes the Accept of the probe listener do something else.
func (f *faultyApp) accept(h hook) {
	f.probes, f.ProbeAddr = badListener{memnet.Listen(), h}, "probes.invalid:8081"
}

// A closer is a listener whose Close does something else first.
type closer struct {
	net.Listener
	hook hook
}

func (l closer) Close() error {
	defer l.Listener.Close()
	return l.hook(context.Background())
}

// close makes the Close of a server's listener do something else first.
func (f *faultyApp) close(h hook) {
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	listen := f.guilty.Listen
	f.guilty.Listen = func(ctx context.Context) (net.Listener, error) {
		l, err := listen(ctx)
		return closer{l, h}, err
	}
}

// ask opens the probe listener, and has a client ask there for what h answers.
func (f *faultyApp) ask(h http.HandlerFunc) {
	l := memnet.Listen()
	f.probes, f.ProbeAddr, f.Admin = l, "probes.invalid:8081", h
	f.Components = append(f.Components, lifecycle.Component{Name: "client", Run: func(ctx context.Context) error {
		nc, err := l.Dial(ctx)
		if err == nil {
			defer nc.Close()
			fmt.Fprintf(nc, "GET /admin HTTP/1.1\r\nHost: probes\r\n\r\n")
			go io.Copy(io.Discard, nc)
		}
		<-ctx.Done()
		return nil
	}}, f.component("above", "guilty"))
}

type hook = func(context.Context) error

func (f *faultyApp) hang(context.Context) error     { <-f.release; return nil }
func (f *faultyApp) obey(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (f *faultyApp) fail(context.Context) error     { return errors.New("broken") }
func (f *faultyApp) panic(context.Context) error    { panic("odd") }
func (f *faultyApp) goexit(context.Context) error   { runtime.Goexit(); return nil }
func (f *faultyApp) nothing(context.Context) error  { return nil }
func (f *faultyApp) after(d time.Duration, h hook) hook {
	return func(ctx context.Context) error { time.Sleep(d); return h(ctx) }
}

// told returns a hook that waits until it is told to end before it does h.
func (f *faultyApp) told(h hook) hook {
	return func(ctx context.Context) error { <-ctx.Done(); return h(ctx) }
}

// serve makes the guilty component a server, with a request to h under way.
func (f *faultyApp) serve(h http.HandlerFunc) {
	l := memnet.Listen()
	*f.guilty = lifecycle.HTTP("guilty", &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(f.Logger.Handler(), slog.LevelError)}, "db")
	f.guilty.Listen = func(context.Context) (net.Listener, error) { return l, nil }
	f.Components = append(f.Components, lifecycle.Component{
		Name:      "client",
		DependsOn: []string{"guilty"},
		Run: func(ctx context.Context) error {
			nc, err := l.Dial(ctx)
			if err != nil {
				return err
			}
			defer nc.Close()
			fmt.Fprintf(nc, "GET /slow HTTP/1.1\r\nHost: guilty\r\n\r\n")
			nc.Read(make([]byte, 1<<10))
			<-ctx.Done()
			return nil
		},
	})
}

// A fault is a row of the table of faults. The signal comes after a minute, unless
// the fault itself begins the shutdown.
type fault struct {
	phase, kind string
	place       func(f *faultyApp)
	status      int
	took        time.Duration // from T0
	says        string        // in the error of Run, or in the log if that is nil
}

const s = time.Second

var faults = []fault{
	{"start", "returns an error", func(f *faultyApp) { f.guilty.Start = f.fail }, 3, 2 * s, "lifecycle: start failed: start guilty: broken"},
	{"start", "panics", func(f *faultyApp) { f.guilty.Start = f.panic }, 3, 2 * s, "lifecycle: start failed: start guilty: panic: odd"},
	{"start", "calls runtime.Goexit", func(f *faultyApp) { f.guilty.Start = f.goexit }, 3, 2 * s, "lifecycle: start failed: start guilty: runtime.Goexit was called"},
	{"start", "hangs until it is told to stop", func(f *faultyApp) { f.guilty.Start = f.obey }, 0, 2 * s, `msg="start interrupted" component=guilty`},
	{"start", "returns an error when it is told to stop", func(f *faultyApp) { f.guilty.Start = f.told(f.fail) }, 3, 2 * s, "lifecycle: start failed: start guilty: broken"},
	{"start", "panics when it is told to stop", func(f *faultyApp) { f.guilty.Start = f.told(f.panic) }, 3, 2 * s, "lifecycle: start failed: start guilty: panic: odd"},
	{"start", "succeeds, but late after it was told to stop", func(f *faultyApp) { f.guilty.Start = f.told(f.after(3*s, f.nothing)) }, 0, 5 * s, "exit_code=0"},
	{"start", "hangs, and ignores its context", func(f *faultyApp) { f.guilty.Start = f.hang }, 4, 16 * s, "start guilty: lifecycle: not done by its deadline"},
	{"start", "succeeds when it has been left behind", func(f *faultyApp) {
		f.guilty.Start = f.told(f.after(17*s, f.nothing))
		f.guilty.Run = f.panic // is not called
	}, 4, 16 * s, "start guilty: lifecycle: not done by its deadline"},
	{"start", "a server's listen hangs", func(f *faultyApp) {
		f.serve(nil)
		f.guilty.Listen = func(context.Context) (net.Listener, error) { f.hang(context.Background()); return memnet.Listen(), nil }
	}, 4, 25 * s, "start guilty: lifecycle: not done by its deadline"},
	{"start", "hangs, and another one fails", func(f *faultyApp) {
		f.guilty.Start = f.hang
		f.Components = append(f.Components, lifecycle.Component{Name: "other", Start: f.after(2*s, f.fail)})
	}, 4, 16 * s, "lifecycle: start failed: start other: broken"},
	{"start", "the name of its check is taken", func(f *faultyApp) {
		f.Probes = new(probes.Registry)
		f.Probes.AddReadiness(probes.Check{Name: "guilty", Func: f.nothing})
		f.guilty.Ready = f.nothing
	}, 3, 2 * s, `lifecycle: start failed: start guilty: probes: invalid check: there is a readiness check "guilty" already`},
	{"start", "a server gets no listener", func(f *faultyApp) {
		f.serve(nil)
		f.guilty.Listen = func(context.Context) (net.Listener, error) { return nil, nil }
	}, 3, 2 * s, "lifecycle: start failed: start guilty: it has no listener: Listen has returned nil"},
	{"start", "a server has TLS and no certificate", func(f *faultyApp) {
		f.serve(nil)
		f.guilty.Server.HTTP.TLSConfig = new(tls.Config)
	}, 3, 2 * s, "lifecycle: start failed: start guilty: its TLSConfig has no certificate"},

	{"run", "ends while another one starts", func(f *faultyApp) { f.guilty.Run = f.after(s/2, f.nothing) }, 0, 4*s + s/2, `reason="component guilty ended by itself"`},
	{"run", "ends after a while", func(f *faultyApp) { f.guilty.Run = f.after(9*s, f.nothing) }, 0, 4 * s, `reason="component guilty ended by itself"`},
	{"run", "returns an error", func(f *faultyApp) { f.guilty.Run = f.after(9*s, f.fail) }, 1, 4 * s, "run guilty: broken"},
	{"run", "panics", func(f *faultyApp) { f.guilty.Run = f.after(9*s, f.panic) }, 1, 4 * s, "run guilty: panic: odd"},
	{"run", "calls runtime.Goexit", func(f *faultyApp) { f.guilty.Run = f.after(9*s, f.goexit) }, 1, 4 * s, "run guilty: runtime.Goexit was called"},
	{"run", "returns an error when it is told to stop", func(f *faultyApp) { f.guilty.Run = f.told(f.fail) }, 1, 4 * s, "run guilty: broken"},
	{"run", "returns its context's error when it is told to stop", func(f *faultyApp) { f.guilty.Run = f.obey }, 0, 4 * s, "exit_code=0"},
	{"run", "panics when it is told to stop", func(f *faultyApp) { f.guilty.Run = f.told(f.panic) }, 1, 4 * s, "run guilty: panic: odd"},
	{"run", "ignores its context", func(f *faultyApp) { f.guilty.Run = f.hang }, 4, 17 * s, "run guilty: lifecycle: not done by its deadline"},
	{"run", "a server's listener breaks", func(f *faultyApp) {
		f.serve(nil)
		l := memnet.Listen()
		f.guilty.Listen = func(context.Context) (net.Listener, error) { return l, nil }
		f.Components = append(f.Components[:3:3], lifecycle.Component{Name: "breaker", Run: f.after(9*s, func(ctx context.Context) error { l.Close(); return f.obey(ctx) })})
	}, 1, 2 * s, "run guilty: "},

	{"check", "fails", func(f *faultyApp) { f.guilty.Ready = f.fail }, 0, 4 * s, `msg="probes: check is failing" check=guilty`},
	{"check", "hangs", func(f *faultyApp) { f.guilty.Ready = f.hang }, 0, 4 * s, `msg="probes: check is failing" check=guilty`},
	{"check", "panics", func(f *faultyApp) { f.guilty.Ready = f.panic }, 1, 4 * s, "check guilty: panic: odd"},
	{"check", "calls runtime.Goexit", func(f *faultyApp) { f.guilty.Ready = f.goexit }, 1, 4 * s, "check guilty: runtime.Goexit called"},
	{"check", "a liveness check panics", func(f *faultyApp) {
		f.Probes = &probes.Registry{Logger: f.Logger}
		f.Probes.AddLiveness("guilty", func() error { panic("odd") })
	}, 1, 4 * s, "check guilty: panic: odd"},
	{"check", "a liveness check hangs", func(f *faultyApp) {
		f.Probes = &probes.Registry{Logger: f.Logger}
		f.Probes.AddLiveness("guilty", func() error { return f.hang(context.Background()) })
	}, 0, 4 * s, `msg="probes: check is failing" check=guilty`},

	{"probes", "the address is in use", func(f *faultyApp) {
		f.ProbeAddr, f.taken = "probes.invalid:8081", &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}, 3, 0, "lifecycle: start failed: start probes: listen tcp: address already in use"},
	{"probes", "accepting fails", func(f *faultyApp) { f.accept(f.after(9*s, f.fail)) }, 1, 4 * s, "run probes: broken"},
	{"probes", "accepting panics", func(f *faultyApp) { f.accept(f.after(9*s, f.panic)) }, 1, 4 * s, "run probes: panic: odd"},
	{"probes", "what answers beside them panics", func(f *faultyApp) {
		f.ask(func(http.ResponseWriter, *http.Request) { panic("odd") })
	}, 0, 4 * s, "exit_code=0"},
	{"probes", "what answers beside them hangs", func(f *faultyApp) {
		f.ask(func(http.ResponseWriter, *http.Request) { f.hang(context.Background()) })
	}, 0, 4*s + 20*time.Millisecond, "exit_code=0"},

	{"drain", "a handler ignores its context", func(f *faultyApp) {
		f.serve(func(http.ResponseWriter, *http.Request) { f.hang(context.Background()) })
	}, 4, 25 * s, "drain guilty: lifecycle: not done by its deadline: "},
	{"drain", "a handler waits for its context", func(f *faultyApp) {
		f.serve(func(_ http.ResponseWriter, r *http.Request) { f.obey(r.Context()) })
	}, 0, 22*s + 5*time.Millisecond, `msg="requests were cancelled before the deadline" component=guilty requests=1`},
	{"drain", "a handler panics meanwhile", func(f *faultyApp) {
		f.serve(func(_ http.ResponseWriter, r *http.Request) { f.after(64*s, f.panic)(context.Background()) })
	}, 0, 7 * s, "panic serving pipe: odd"},

	{"drain", "a server's listener panics when it is closed", func(f *faultyApp) { f.close(f.panic) }, 1, 2 * s, "drain guilty: drain: Close of the listener lifecycle_test.closer panicked: odd"},
	{"drain", "a server's listener hangs when it is closed", func(f *faultyApp) { f.close(f.hang) }, 4, 27*s + s/2, "drain guilty: lifecycle: not done by its deadline: drain: cut at the deadline: Close of the listener lifecycle_test.closer, which has not returned"},
	{"drain", "a server's connection hangs when it is to end", func(f *faultyApp) {
		f.connect(oddConn{setReadDeadline: func() { f.hang(context.Background()) }}, func(http.ResponseWriter, *http.Request) {})
	}, 4, 25 * s, "SetReadDeadline of the connection lifecycle_test.oddConn, which has not returned"},
	{"drain", "a server's connection hangs when it is named", func(f *faultyApp) {
		f.connect(oddConn{fromWhom: func() { f.hang(context.Background()) }}, f.hijack)
	}, 4, 25 * s, "RemoteAddr of the connection lifecycle_test.oddConn, which has not returned"},
	{"drain", "a server's route hangs", func(f *faultyApp) {
		f.serve(func(http.ResponseWriter, *http.Request) { f.hang(context.Background()) })
		f.guilty.Server.Route = func(*http.Request) string { f.hang(context.Background()); return "" }
	}, 4, 25 * s, "Route, which has not returned"},

	{"drain", "a worker's drain returns an error", func(f *faultyApp) { f.guilty.Drain = f.fail }, 1, 4 * s, "drain guilty: broken"},
	{"drain", "a worker's drain panics", func(f *faultyApp) { f.guilty.Drain = f.panic }, 1, 4 * s, "drain guilty: panic: odd"},
	{"drain", "a worker's drain calls runtime.Goexit", func(f *faultyApp) { f.guilty.Drain = f.goexit }, 1, 4 * s, "drain guilty: runtime.Goexit was called"},
	{"drain", "a worker's work is not finished", func(f *faultyApp) {
		var work drain.Tracker
		work.Start(context.Background(), "import")
		f.guilty.Drain = work.Drain
		f.Components = append(f.Components, f.component("far"))
	}, 4, 25*s - 50*time.Millisecond, "drain guilty: lifecycle: not done by its deadline: drain: cut at the deadline: import (running for 1m22.95s)"},
	{"drain", "a worker's drain hangs, and ignores its context", func(f *faultyApp) {
		f.guilty.Drain = f.hang
		f.Components = append(f.Components, f.component("far"))
	}, 4, 25 * s, "drain guilty: lifecycle: not done by its deadline"},

	{"drain", "a worker has failed, and leaves work", func(f *faultyApp) {
		var work drain.Tracker
		work.Start(context.Background(), "import")
		f.guilty.Run, f.guilty.Drain = f.after(9*s, f.fail), work.Drain
	}, 1, 4 * s, "drain guilty: drain: cut at the deadline: import (running for 10s)"},
	{"drain", "a worker has ended, and its work goes on", func(f *faultyApp) {
		var work drain.Tracker
		_, done, _ := work.Start(context.Background(), "import")
		time.AfterFunc(20*s, done)
		f.guilty.Run, f.guilty.Drain = f.after(9*s, f.nothing), work.Drain
	}, 0, 14 * s, `reason="component guilty ended by itself"`},
	{"drain", "a worker has ended, and leaves work", func(f *faultyApp) {
		var work drain.Tracker
		work.Start(context.Background(), "import")
		f.guilty.Run, f.guilty.Drain = f.after(9*s, f.nothing), work.Drain
		f.Components = append(f.Components, f.component("far"))
	}, 4, 25*s - 50*time.Millisecond, "drain guilty: lifecycle: not done by its deadline: drain: cut at the deadline: import (running for 32.95s)"},
	{"drain", "a worker fails meanwhile", func(f *faultyApp) {
		var work drain.Tracker
		work.Start(context.Background(), "import")
		f.guilty.Run, f.guilty.Drain = f.after(61*s, f.fail), work.Drain
	}, 1, 6 * s, "run guilty: broken"},

	{"stop", "returns an error", func(f *faultyApp) { f.guilty.Stop = f.fail }, 1, 4 * s, "stop guilty: broken"},
	{"stop", "panics", func(f *faultyApp) { f.guilty.Stop = f.panic }, 1, 4 * s, "stop guilty: panic: odd"},
	{"stop", "calls runtime.Goexit", func(f *faultyApp) { f.guilty.Stop = f.goexit }, 1, 4 * s, "stop guilty: runtime.Goexit was called"},
	{"stop", "hangs until its context ends", func(f *faultyApp) { f.guilty.Stop = f.obey }, 4, 17*s - 50*time.Millisecond, "stop guilty: lifecycle: not done by its deadline: context deadline exceeded"},
	{"stop", "hangs, and ignores its context", func(f *faultyApp) { f.guilty.Stop = f.hang }, 4, 17 * s, "stop guilty: lifecycle: not done by its deadline"},
	{"stop", "hangs, and so does its run", func(f *faultyApp) { f.guilty.Run, f.guilty.Stop = f.hang, f.hang }, 4, 17 * s, "stop guilty: lifecycle: not done by its deadline"},
	{"stop", "hangs for longer than its share, and then panics", func(f *faultyApp) { f.guilty.Stop = f.after(16*s, f.panic) }, 4, 17 * s, "stop guilty: lifecycle: not done by its deadline"},
	{"stop", "hangs after a failed start of another", func(f *faultyApp) {
		f.guilty.Stop = f.hang
		f.Components = append(f.Components, lifecycle.Component{Name: "other", DependsOn: []string{"guilty"}, Start: f.fail})
	}, 4, 16 * s, "stop guilty: lifecycle: not done by its deadline"},
	{"stop", "hangs in every component", func(f *faultyApp) {
		f.guilty.Stop = f.hang
		f.Components = append(f.Components,
			lifecycle.Component{Name: "above", DependsOn: []string{"guilty"}, Stop: f.hang},
			lifecycle.Component{Name: "far", Stop: f.hang})
	}, 4, 28 * s, "stop guilty: lifecycle: not done by its deadline"},

	{"flush", "returns an error", func(f *faultyApp) { f.Flush = f.fail }, 1, 4 * s, "stop flush: broken"},
	{"flush", "panics", func(f *faultyApp) { f.Flush = f.panic }, 1, 4 * s, "stop flush: panic: odd"},
	{"flush", "calls runtime.Goexit", func(f *faultyApp) { f.Flush = f.goexit }, 1, 4 * s, "stop flush: runtime.Goexit was called"},
	{"flush", "hangs until its context ends", func(f *faultyApp) { f.Flush = f.obey }, 4, 9*s - 50*time.Millisecond, "stop flush: lifecycle: not done by its deadline: context deadline exceeded"},
	{"flush", "hangs, and ignores its context", func(f *faultyApp) { f.Flush = f.hang }, 4, 9 * s, "stop flush: lifecycle: not done by its deadline"},
	{"flush", "hangs after every component", func(f *faultyApp) {
		f.guilty.Stop, f.Flush = f.hang, f.hang
		f.Components = append(f.Components,
			lifecycle.Component{Name: "above", DependsOn: []string{"guilty"}, Stop: f.hang},
			lifecycle.Component{Name: "far", Stop: f.hang})
	}, 4, 29 * s, "stop flush: lifecycle: not done by its deadline"},

	{"observer", "hangs", func(f *faultyApp) {
		f.Observers = append(f.Observers, func(lifecycle.Event) { f.hang(context.Background()) })
	}, 0, 5 * s, `msg="observer has not been told everything"`},
	{"observer", "panics", func(f *faultyApp) {
		f.Observers = append(f.Observers, func(lifecycle.Event) { panic("odd") })
	}, 0, 4 * s, `msg="observer has not been told everything"`},
	{"observer", "calls runtime.Goexit", func(f *faultyApp) {
		f.Observers = append(f.Observers, func(lifecycle.Event) { runtime.Goexit() })
	}, 0, 4 * s, `msg="observer has not been told everything"`},
}

// TestFaultMatrix: whatever one component does, the process is gone before the
// grace period, every healthy component that has started is stopped, and the
// guilty one is named.
func TestFaultMatrix(t *testing.T) {
	for _, tt := range faults {
		t.Run(tt.phase+"/"+tt.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer time.Sleep(time.Minute) // until all that is late is over
				defer close(release)
				d := newDiary()
				a, log := app(d.component("db"), lifecycle.Component{}, d.component("beside"))
				guilty := &lifecycle.Component{Name: "guilty", DependsOn: []string{"db"}}
				f := &faultyApp{App: a, guilty: guilty, release: release, diary: d}
				tt.place(f)
				a.Components[1] = *guilty
				if len(a.Components) == 3 {
					a.Components = append(a.Components, d.component("above", "guilty"))
				}
				var t0 time.Time
				a.Observers = append(a.Observers, func(e lifecycle.Event) {
					if e.Instant == "ShutdownInitiated" {
						t0 = e.Time
					}
				})
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("signal: test"))
				defer cancel()
				err := lifecycle.RunOn(ctx, a, f.listen)

				assert.Equal(t, tt.took, time.Since(t0))
				assert.Less(t, time.Since(t0), 30*time.Second, "the grace period")
				assert.Equal(t, tt.status, lifecycle.ExitCode(err), "%v", err)
				if tt.status != 0 {
					require.ErrorContains(t, err, tt.says)
				} else {
					assert.Contains(t, log.String(), tt.says)
				}
				lines := strings.Join(d.lines(), "\n")
				assert.Equal(t, f.taken == nil, strings.Contains(lines, "db started"))
				for _, name := range []string{"db", "beside", "above", "far"} {
					assert.Equal(t, strings.Count(lines, name+" started"), strings.Count(lines, name+" stopped"), "%s\n%s", name, lines)
				}
			})
		})
	}
}

// TestTableOfFaults: FAULTS.md says what TestFaultMatrix asserts.
func TestTableOfFaults(t *testing.T) {
	const file = "FAULTS.md"
	var b bytes.Buffer
	b.WriteString(faultsHead)
	for _, f := range faults {
		says := f.says
		if says != "" {
			says = "`" + strings.ReplaceAll(says, "|", `\|`) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %v | %s |\n", f.phase, f.kind, f.status, f.took, says)
	}
	if *update {
		require.NoError(t, os.WriteFile(file, b.Bytes(), 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, b.String(), string(got), "go test -run TestTableOfFaults -update ./lifecycle")
}

const faultsHead = `# What happens when a part of the process is at fault

The process has four components: ` + "`db`" + `, on which ` + "`guilty`" + ` depends, on which ` + "`above`" + ` depends, and ` + "`beside`" + `. Each
healthy one takes a second to start and two to stop. The grace period is 30 s, so the deadline is 28 s after the signal. The
signal comes after a minute; a fault that ends the process begins the shutdown itself.

In every case all healthy components that have started are stopped, the process is gone before the grace period, and the
error of ` + "`Run`" + ` (or the log, where the status is 0) says what the last column has. ` + "`TestFaultMatrix`" + ` asserts every row in
fake time;
` + "`TestFaultyProgramIsGoneBeforeTheGracePeriod`" + ` repeats the worst of them in processes of their own, with real signals.

| where | what | exit status | gone after | what is said |
|---|---|---|---|---|
`
