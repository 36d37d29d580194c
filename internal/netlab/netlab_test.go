// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package netlab_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lameduck-go/lameduck/internal/netlab"
)

const (
	oneWay = 20 * time.Millisecond
	limit  = time.Minute // after which a test that waits has failed

	childEnv = "NETLAB_TEST_CHILD"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child prints the addresses it has, then the port it listens on, and echoes.
func child() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if ip := a.(*net.IPNet); ip.IP.To4() != nil {
			fmt.Print(ip, " ")
		}
	}
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		return err
	}
	fmt.Printf("\n%d\n", l.Addr().(*net.TCPAddr).Port)
	return echo(l)
}

// echo sends back what it is sent on one connection, until that is closed.
func echo(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(c, c)
	return err
}

func listen(t *testing.T, lab *netlab.Lab, host, addr string) (l net.Listener) {
	t.Helper()
	require.NoError(t, lab.Do(host, func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	}))
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, lab *netlab.Lab, host, addr string) (c net.Conn) {
	t.Helper()
	require.NoError(t, lab.Do(host, func() (err error) {
		c, err = net.DialTimeout("tcp", addr, limit)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(limit)))
	return c
}

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
}

// A time that is too long would say nothing: the machine may be busy.
func TestTheRoundTripTakesTwiceTheDelay(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, oneWay, "client", "server")
	l := listen(t, lab, "server", lab.Addr("server")+":0")
	echoed := make(chan error, 1)
	go func() { echoed <- echo(l) }()

	begin := time.Now()
	c := dial(t, lab, "client", l.Addr().String())
	assert.GreaterOrEqual(t, time.Since(begin), 2*oneWay, "connecting")
	assert.Equal(t, lab.Addr("client"), c.LocalAddr().(*net.TCPAddr).IP.String())

	begin = time.Now()
	roundTrip(t, c)
	assert.GreaterOrEqual(t, time.Since(begin), 2*oneWay, "a byte there and back")
	require.NoError(t, c.Close())
	assert.NoError(t, <-echoed)
}

func TestARefusalTakesARoundTrip(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, oneWay, "client", "server")
	begin := time.Now()
	err := lab.Do("client", func() error {
		c, err := net.DialTimeout("tcp", lab.Addr("server")+":80", limit)
		if err == nil {
			c.Close()
		}
		return err
	})
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.GreaterOrEqual(t, time.Since(begin), 2*oneWay)
}

func TestACommandIsOnItsHostOnly(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, time.Millisecond, "client", "server")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, lab.Start("server", cmd))

	out := bufio.NewScanner(stdout)
	require.True(t, out.Scan())
	assert.Equal(t, "127.0.0.1/8 "+lab.Addr("server")+"/24", strings.TrimSpace(out.Text()))
	require.True(t, out.Scan())
	port := out.Text()

	// The port is free on the other host.
	listen(t, lab, "client", ":"+port)
	c := dial(t, lab, "client", net.JoinHostPort(lab.Addr("server"), port))
	roundTrip(t, c)
	require.NoError(t, c.Close())
	assert.NoError(t, cmd.Wait())
}

func TestACommandIsKilledWhenTheTestEnds(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1") // waits for a connection
	started := t.Run("test", func(t *testing.T) {
		lab := netlab.New(t, 0, "server")
		require.NoError(t, lab.Start("server", cmd))
	})
	if !started || cmd.Process == nil {
		t.SkipNow()
	}
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	assert.Equal(t, "signal: killed", exit.Error())
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, time.Millisecond, "client", "server")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RemoteAddr)
	})}
	l := listen(t, lab, "server", ":80")
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()

	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = lab.Do("client", func() (err error) {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}
	client := http.Client{Transport: transport, Timeout: limit}
	resp, err := client.Get("http://" + lab.Addr("server"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Contains(t, string(body), lab.Addr("client")+":")

	transport.CloseIdleConnections()
	require.NoError(t, srv.Close())
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
}

// More data than the queues of devices hold, so that what a delayed network does
// to a sender is in it: windows that fill, and order that must be kept.
func TestAStreamArrivesWhole(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	lab := netlab.New(t, time.Millisecond, "client", "server")
	l := listen(t, lab, "server", ":80")
	sent := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write(pattern(size))
			c.Close()
		}
		sent <- err
	}()
	c := dial(t, lab, "client", lab.Addr("server")+":80")
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	assert.True(t, string(pattern(size)) == string(got), "%d of %d bytes", len(got), size)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// namespace names the network namespace of the calling thread.
func namespace() string {
	name, _ := os.Readlink("/proc/thread-self/ns/net")
	return name
}

func TestDo(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, 0, "a", "b")
	outside := namespace()

	seen := make(map[string]bool)
	for _, host := range []string{"a", "b"} {
		require.NoError(t, lab.Do(host, func() error {
			seen[namespace()] = true
			started := make(chan string)
			go func() { started <- namespace() }()
			assert.Equal(t, outside, <-started, "goroutines of the function are outside")
			return nil
		}))
	}
	assert.Len(t, seen, 2, "each host has its own")
	assert.NotContains(t, seen, outside)
	assert.Equal(t, outside, namespace())

	assert.ErrorIs(t, lab.Do("a", func() error { return io.ErrUnexpectedEOF }), io.ErrUnexpectedEOF)
	assert.Error(t, lab.Do("a", func() error { runtime.Goexit(); return nil }))

	// Calls may overlap: each of these waits for the other.
	x, y := make(chan int), make(chan int)
	errs := make(chan error, 2)
	go func() { errs <- lab.Do("a", func() error { x <- 1; <-y; return nil }) }()
	go func() { errs <- lab.Do("a", func() error { <-x; y <- 1; return nil }) }()
	assert.NoError(t, <-errs)
	assert.NoError(t, <-errs)

	assert.PanicsWithValue(t, `netlab: no host "c"`, func() { lab.Addr("c") })
}

// Not parallel: it looks at all threads of the process.
func TestNothingIsLeft(t *testing.T) {
	var lab *netlab.Lab
	hosts := make(map[string]bool)
	t.Run("test", func(t *testing.T) {
		lab = netlab.New(t, oneWay, "client", "server")
		listen(t, lab, "server", ":80")
		c := dial(t, lab, "client", lab.Addr("server")+":80")
		_, err := c.Write([]byte("on the way"))
		require.NoError(t, err)
		for _, host := range []string{"client", "server"} {
			require.NoError(t, lab.Do(host, func() error {
				hosts[namespace()] = true
				return nil
			}))
		}
	})
	if len(hosts) == 0 {
		t.SkipNow()
	}
	goleak.VerifyNone(t)
	assert.ErrorIs(t, lab.Do("client", func() error { panic("called") }), os.ErrClosed)
	assert.ErrorIs(t, lab.Start("client", exec.Command(os.Args[0])), os.ErrClosed)

	// A thread ends a little after its goroutine.
	assert.Eventually(t, func() bool { return len(threadsIn(hosts)) == 0 }, limit, time.Millisecond,
		"threads are left inside")
	fds, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	for _, fd := range fds {
		name, _ := os.Readlink(fd)
		assert.NotEqual(t, "/dev/net/tun", name)
		assert.NotContains(t, hosts, name)
	}
}

func threadsIn(namespaces map[string]bool) (threads []string) {
	links, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, link := range links {
		if name, _ := os.Readlink(link); namespaces[name] {
			threads = append(threads, link)
		}
	}
	return threads
}
