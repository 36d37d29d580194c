// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package draintest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/drain/draintest"
)

// serverEnv makes the test binary a server in a process of its own.
const serverEnv = "LAMEDUCK_TEST_SERVER"

func TestMain(m *testing.M) {
	switch os.Getenv(serverEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "fails":
		os.Stderr.WriteString("no database\n")
		os.Exit(7)
	case "drains":
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		command(ctx)
	case "chatty":
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		go func() {
			for {
				os.Stdout.WriteString("line\n")
				time.Sleep(time.Millisecond)
			}
		}()
		command(ctx)
	case "is not ready":
		unready(http.StatusServiceUnavailable)
	case "listens elsewhere":
		unready(http.StatusOK)
	case "ignores SIGTERM":
		signal.Ignore(syscall.SIGTERM)
		os.Stderr.WriteString("I stay\n")
		command(context.Background())
	}
}

// command serves $PORT and a readiness probe on $PROBE_PORT.
func command(ctx context.Context) {
	go http.ListenAndServe("127.0.0.1:"+os.Getenv("PROBE_PORT"), http.HandlerFunc(work))
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	if err := drained(ctx, l); err != nil {
		panic(err)
	}
}

func work(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	time.Sleep(5 * time.Millisecond)
	io.WriteString(w, "ok")
}

// drained serves l until ctx is done, and then drains it.
func drained(ctx context.Context, l net.Listener) error {
	s := &drain.Server{HTTP: &http.Server{Handler: http.HandlerFunc(work)}, Floor: 500 * time.Millisecond}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	_, err := s.Drain(limit)
	<-served
	return err
}

// shutDown serves l until ctx is done, and then calls Shutdown or Close.
func shutDown(end func(*http.Server) error) func(context.Context, net.Listener) error {
	return func(ctx context.Context, l net.Listener) error {
		s := &http.Server{Handler: http.HandlerFunc(work)}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		<-ctx.Done()
		err := end(s)
		<-served
		return err
	}
}

// serveHTTP2 serves HTTP/1.1 and h2c until ctx is done, and then calls Shutdown.
func serveHTTP2(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: http.HandlerFunc(work), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return untilDone(ctx, s, func() error { return s.Serve(l) })
}

// serveHTTP2TLS is the same over TLS. Its certificate is that of httptest.
func serveHTTP2TLS(ctx context.Context, l net.Listener) error {
	made := httptest.NewUnstartedServer(nil)
	made.StartTLS()
	made.Close()
	s := &http.Server{Handler: http.HandlerFunc(work), TLSConfig: &tls.Config{Certificates: made.TLS.Certificates}}
	return untilDone(ctx, s, func() error { return s.ServeTLS(l, "", "") })
}

func untilDone(ctx context.Context, s *http.Server, serve func() error) error {
	served := make(chan error, 1)
	go func() { served <- serve() }()
	<-ctx.Done()
	err := s.Shutdown(context.Background())
	<-served
	return err
}

var config = draintest.Config{
	Terminations: 2,
	Propagation:  700 * time.Millisecond,
	Settle:       300 * time.Millisecond,
}

func TestDrainLosesNothingWhereOthersLose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(context.Context, net.Listener) error
		loses bool
	}{
		{"http.Server.Close", shutDown((*http.Server).Close), true},
		{"http.Server.Shutdown", shutDown(func(s *http.Server) error { return s.Shutdown(context.Background()) }), true},
		{"drain.Server", drained, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config
			c.Serve = tt.serve
			report, err := draintest.Roll(t.Context(), c)
			require.NoError(t, err)
			t.Logf("%s:\n%s", tt.name, report)
			assert.Equal(t, tt.loses, report.Lost() > 0)
			assert.Len(t, report.Exits, 2)
			for _, k := range report.Kinds {
				assert.NotZero(t, k.OK, k.Kind)
			}
		})
	}
}

func TestKindsAreTheCallers(t *testing.T) {
	c := config
	c.Serve, c.Terminations, c.Clients = drained, 1, 3
	c.Kinds = []draintest.Kind{
		{Name: "many", MaxThink: 2 * time.Second, Clients: 400},
		{Name: "few", MinThink: 20 * time.Millisecond, MaxThink: 60 * time.Millisecond},
		{Name: "new", Method: "HEAD", NewConn: true, MaxThink: 100 * time.Millisecond, Clients: 1},
	}
	report, err := draintest.Roll(t.Context(), c)
	require.NoError(t, err)
	t.Logf("\n%s", report)
	require.Len(t, report.Kinds, 3)
	many, few, fresh := report.Kinds[0], report.Kinds[1], report.Kinds[2]
	assert.Equal(t, []string{"many", "few", "new"}, []string{many.Kind, few.Kind, fresh.Kind})
	assert.GreaterOrEqual(t, many.Dials, 400, "every client has a connection before the first termination")
	assert.GreaterOrEqual(t, few.Dials, 3)
	assert.Greater(t, few.Sent, few.Dials)
	assert.Equal(t, fresh.Sent, fresh.Dials)
}

// A Shutdown's single GOAWAY leaves requests out that are on their way.
func TestHTTP2Kinds(t *testing.T) {
	for _, proto := range []string{"h2c", "h2"} {
		t.Run(proto, func(t *testing.T) {
			c := config
			c.Serve = serveHTTP2
			c.Kinds = []draintest.Kind{
				{Name: "100 streaming", Proto: proto, Streams: 100, Streaming: true, Clients: 1},
				{Name: "4 unary", Proto: proto, Streams: 4, Clients: 10},
				{Name: "GET", Proto: proto, Method: "GET", MaxThink: 20 * time.Millisecond},
				{Name: "HTTP/1.1", MaxThink: 20 * time.Millisecond, Clients: 1},
			}
			if proto == "h2" {
				c.Serve, c.Kinds = serveHTTP2TLS, c.Kinds[:3]
			}
			report, err := draintest.Roll(t.Context(), c)
			require.NoError(t, err)
			t.Logf("\n%s", report)
			assert.NotZero(t, report.Total().GoAway)
			for _, k := range report.Kinds {
				assert.NotZero(t, k.OK, k.Kind)
			}
			many := report.Kinds[0]
			assert.GreaterOrEqual(t, many.Dials, 2, "the last server may come too late to be needed")
		})
	}
}

func TestReportsAreAddedByName(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	sum := new(draintest.Report)
	sum.Add(&draintest.Report{
		Kinds: []draintest.KindReport{{Kind: "a", Sent: 1, OK: 1}, {Kind: "b", Sent: 10, OK: 8, Reset: 2, FirstLoss: first}},
		Exits: []time.Duration{1},
	})
	sum.Add(&draintest.Report{
		Kinds: []draintest.KindReport{{Kind: "b", Sent: 100, OK: 99, Closed: 1, FirstLoss: second}, {Kind: "c", Sent: 1000, OK: 1000, Dials: 5}},
		Exits: []time.Duration{2},
	})
	assert.Equal(t, &draintest.Report{
		Kinds: []draintest.KindReport{
			{Kind: "a", Sent: 1, OK: 1},
			{Kind: "b", Sent: 110, OK: 107, Reset: 2, Closed: 1, FirstLoss: first},
			{Kind: "c", Sent: 1000, OK: 1000, Dials: 5},
		},
		Exits: []time.Duration{1, 2},
	}, sum)
	assert.Equal(t, draintest.KindReport{Kind: "total", Sent: 1111, OK: 1108, Dials: 5, Reset: 2, Closed: 1, FirstLoss: first}, sum.Total())
	assert.Equal(t, 3, sum.Lost())
}

func self(mode string) draintest.Config {
	c := config
	c.Command, c.Env, c.Terminations = os.Args[:1], []string{serverEnv + "=" + mode}, 1
	return c
}

func TestCommandIsRolled(t *testing.T) {
	report, err := draintest.Roll(t.Context(), self("drains"))
	require.NoError(t, err)
	assert.Zero(t, report.Lost(), "%s", report)
	_, worst := report.Exit()
	assert.GreaterOrEqual(t, worst, 500*time.Millisecond, "the floor")
}

func TestCommandThatDoesNotLeaveIsKilled(t *testing.T) {
	c := self("ignores SIGTERM")
	c.ExitTimeout = 200 * time.Millisecond
	_, err := draintest.Roll(t.Context(), c)
	assert.EqualError(t, err, "draintest: the server has not left 200ms after it was told to\nI stay\n")
}

func TestCommandThatFailsIsQuoted(t *testing.T) {
	_, err := draintest.Roll(t.Context(), self("fails"))
	assert.EqualError(t, err, "draintest: the command ended before it was ready: exit status 7\nno database\n")
}

func TestServeThatFailsEndsTheRoll(t *testing.T) {
	c := config
	c.Serve = shutDown(func(s *http.Server) error { s.Close(); return errors.New("no way") })
	c.Settle = -1
	_, err := draintest.Roll(t.Context(), c)
	assert.ErrorContains(t, err, "the server left with an error: no way")
}

func TestLastServerThatFailsIsAnError(t *testing.T) {
	c := config
	c.Settle, c.Terminations, c.Propagation = -1, 1, -1
	var calls atomic.Int32
	c.Serve = func(ctx context.Context, l net.Listener) error {
		last := calls.Add(1) == 2
		err := drained(ctx, l)
		if last {
			err = errors.New("no way")
		}
		return err
	}
	report, err := draintest.Roll(t.Context(), c)
	assert.EqualError(t, err, "draintest: the server left with an error: no way")
	assert.Len(t, report.Exits, 1)
}

func TestCancelledRollLeavesNothingBehind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c := self("drains")
	c.Settle = time.Hour
	_, err := draintest.Roll(ctx, c)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func kinds(serve func(context.Context, net.Listener) error, kinds ...draintest.Kind) draintest.Config {
	return draintest.Config{Serve: serve, Kinds: kinds}
}

func TestBadConfig(t *testing.T) {
	serve := func(context.Context, net.Listener) error { return nil }
	for _, tt := range []struct {
		c    draintest.Config
		want string
	}{
		{draintest.Config{}, "draintest: neither Command nor Serve is set"},
		{draintest.Config{Command: []string{"x"}, Serve: serve}, "draintest: both Command and Serve are set"},
		{draintest.Config{Serve: serve, Terminations: -1}, "draintest: Terminations is negative: -1"},
		{draintest.Config{Serve: serve, Clients: -2}, "draintest: Clients is negative: -2"},
		{draintest.Config{Serve: serve, ExitTimeout: -1}, "draintest: ExitTimeout is negative: -1ns"},
		{draintest.Config{Serve: serve, Path: "work"}, `draintest: Path does not begin with "/": "work"`},
		{draintest.Config{Serve: serve, Path: "/my work"}, `draintest: Path has a space or a control character: "/my work"`},
		{draintest.Config{Serve: serve, Ready: ":80/"}, `draintest: Ready does not begin with "/": ":80/"`},
		{draintest.Config{Serve: serve, Ready: "/\x00"}, `draintest: Ready has a space or a control character: "/\x00"`},
		{kinds(serve, draintest.Kind{Name: "a"}, draintest.Kind{}), "draintest: Kinds[1] has no Name"},
		{kinds(serve, draintest.Kind{Name: "a"}, draintest.Kind{Name: "a"}), `draintest: two kinds have the name "a"`},
		{kinds(serve, draintest.Kind{Name: "a", Clients: -1}), `draintest: kind "a": Clients is negative: -1`},
		{kinds(serve, draintest.Kind{Name: "a", MinThink: -1}), `draintest: kind "a": MinThink is negative: -1ns`},
		{kinds(serve, draintest.Kind{Name: "a", MaxThink: -1}), `draintest: kind "a": MaxThink is negative: -1ns`},
		{kinds(serve, draintest.Kind{Name: "a", MinThink: 2, MaxThink: 1}), `draintest: kind "a": MinThink, 2ns, is longer than MaxThink, 1ns`},
		{kinds(serve, draintest.Kind{Name: "a", Proto: "h3"}), `draintest: kind "a": Proto is neither "h2" nor "h2c" nor empty: "h3"`},
		{kinds(serve, draintest.Kind{Name: "a", Method: "GE T"}), `draintest: kind "a": no method: "GE T"`},
		{kinds(serve, draintest.Kind{Name: "a", Proto: "h2", Streams: -1}), `draintest: kind "a": Streams is negative: -1`},
		{kinds(serve, draintest.Kind{Name: "a", Streams: 2}), `draintest: kind "a": Streams without HTTP/2: 2`},
		{kinds(serve, draintest.Kind{Name: "a", Streaming: true}), `draintest: kind "a": Streaming without HTTP/2`},
		{kinds(serve, draintest.Kind{Name: "a", Proto: "h2c", Method: "GET", Streaming: true}), `draintest: kind "a": Streaming, and GET has no body`},
	} {
		_, err := draintest.Roll(t.Context(), tt.c)
		assert.EqualError(t, err, tt.want)
	}
	_, err := draintest.Roll(t.Context(), draintest.Config{Command: []string{"/no/such/program"}})
	assert.ErrorContains(t, err, "/no/such/program")
}
