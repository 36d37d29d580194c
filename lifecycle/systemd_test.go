// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package lifecycle_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A manager is the end of the notification socket that systemd has.
type manager struct {
	t    testing.TB
	conn *net.UnixConn
	path string
}

func newManager(t testing.TB, path string) *manager {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &manager{t, conn, path}
}

// next returns the next datagram.
func (m *manager) next() string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	require.NoError(m.t, err)
	return string(b[:n])
}

// until returns the next datagram that contains text.
func (m *manager) until(text string) string {
	m.t.Helper()
	for {
		if s := m.next(); strings.Contains(s, text) {
			return s
		}
	}
}

func TestSystemdIsTold(t *testing.T) {
	for _, tt := range []struct{ name, path string }{
		{"path", filepath.Join(t.TempDir(), "notify")},
		{"abstract name", "@lameduck-test-" + filepath.Base(t.TempDir()) + filepath.Base(os.Args[0])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t, tt.path)
			p := run(t, "none", "NOTIFY_SOCKET="+tt.path, "WATCHDOG_USEC=100000")
			assert.Equal(t, "STATUS=starting", m.next())
			assert.Equal(t, "READY=1\nSTATUS=started", m.next())
			for range 3 {
				assert.Equal(t, "WATCHDOG=1", m.next())
			}
			p.signal(syscall.SIGTERM)
			assert.Equal(t, "STOPPING=1\nSTATUS=shutting down: signal: terminated\nEXTEND_TIMEOUT_USEC=5000000", m.until("STOPPING"))
			assert.Equal(t, "STATUS=web: drained", m.until("drained"))
			assert.Contains(t, m.until("exit status"), "STATUS=signal: terminated: took ")
			code, _ := p.exit(time.Now())
			assert.Equal(t, 0, code)
		})
	}
}

func TestSystemdIsAskedForMoreTime(t *testing.T) {
	t.Parallel()
	steadily(t, func(t *trial) {
		m := newManager(t, filepath.Join(t.TempDir(), "notify"))
		p := run(t, "stop hangs", "NOTIFY_SOCKET="+m.path, "GRACE_PERIOD=4s")
		m.until("READY=1")
		p.signal(syscall.SIGTERM)
		m.until("EXTEND_TIMEOUT_USEC=4000000")
		m.until("EXTEND_TIMEOUT_USEC=2") // a second later, or more, there are not quite 3 s left
		code, _ := p.exit(time.Now())
		assert.Equal(t, 4, code)
	})
}

func TestSystemdThatIsGoneHoldsNothingUp(t *testing.T) {
	t.Parallel()
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	p := run(t, "none", "NOTIFY_SOCKET="+m.path)
	m.until("READY=1")
	m.conn.Close()
	code, _ := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 0, code, "or something was not done by its deadline")
}

// TestBadWatchdogLeavesTheRest: without READY=1 the unit would not even start.
func TestBadWatchdogLeavesTheRest(t *testing.T) {
	for _, usec := range []string{"0", "3s"} {
		t.Run(usec, func(t *testing.T) {
			t.Parallel()
			m := newManager(t, filepath.Join(t.TempDir(), "notify"))
			p := run(t, "none", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC="+usec)
			assert.Equal(t, "STATUS=starting", m.next())
			assert.Equal(t, "READY=1\nSTATUS=started", m.next())
			code, _ := p.exit(p.signal(syscall.SIGTERM))
			assert.Equal(t, 0, code)
			assert.Contains(t, p.out.String(), "WATCHDOG_USEC: ")
		})
	}
}

func TestSystemdThatIsNotThereIsAWarning(t *testing.T) {
	t.Parallel()
	p := run(t, "none", "NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "none"))
	p.waitFor("instant=Started")
	code, _ := p.exit(p.signal(syscall.SIGTERM))
	assert.Equal(t, 0, code)
	assert.Contains(t, p.out.String(), `msg="systemd is not told everything"`)
}

func TestWatchdogIsNotFedOnceLivenessIsRed(t *testing.T) {
	t.Parallel()
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	p := run(t, "liveness turns red", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=20000")
	m.until("WATCHDOG=1")
	p.waitFor("check is failing") // by its timeout
	for i := 0; ; i++ {           // what was sent before that
		require.Less(t, i, 1000, "it is still fed")
		m.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := m.conn.Read(make([]byte, 4096)); err != nil {
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "silence for 25 intervals")
			break
		}
	}
	p.exit(p.signal(syscall.SIGTERM))
}

// TestSystemdNotifySendsTheSame: the datagrams are those of systemd's own tool.
func TestSystemdNotifySendsTheSame(t *testing.T) {
	tool, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Skip("systemd-notify is not installed")
	}
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	cmd := exec.CommandContext(t.Context(), tool, "--no-block", "--ready", "--status=started")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	theirs := m.next()
	p := run(t, "none", "NOTIFY_SOCKET="+m.path)
	assert.Equal(t, theirs, m.until("READY=1"))
	p.exit(p.signal(syscall.SIGTERM))
}

// activated starts the program with sockets as systemd passes them. The shell knows
// its own process, which becomes that of the program.
func activated(t *testing.T, names string, sockets []*os.File, env ...string) *program {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.ExtraFiles = sockets // what env says of their number comes later, and wins
	count := string(rune('0' + len(sockets)))
	return start(t, cmd, "activated", append([]string{"LISTEN_FDS=" + count, "LISTEN_FDNAMES=" + names}, env...)...)
}

func socket(t *testing.T) (addr string, f *os.File) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

func TestSocketActivation(t *testing.T) {
	_, first := socket(t)
	addr, second := socket(t)
	for _, tt := range []struct {
		name, names, want string
		sockets           []*os.File
		env               []string
		status            int
		says              string
	}{
		{"by its name", "other:web", "web", []*os.File{first, second}, nil, 0, ""},
		{"the only one", "", "", []*os.File{second}, nil, 0, ""},
		{"no such name", "other:web", "api", []*os.File{first, second}, nil, 3, `none of the sockets that systemd passes, [\"other\" \"web\"], is \"api\"`},
		{"two of a name", "web:web", "web", []*os.File{first, second}, nil, 3, `more than one of the sockets that systemd passes, [\"web\" \"web\"], is \"web\"`},
		{"more than one", "", "", []*os.File{first, second}, nil, 3, "more than one of the sockets"},
		{"taken twice", "web", "web", []*os.File{second}, []string{"AGAIN=1"}, 3, `the socket \"web\" that systemd passes has been taken before`},
		{"none", "", "", nil, nil, 3, `systemd passes no sockets: LISTEN_FDS is \"0\"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := activated(t, tt.names, tt.sockets, append(tt.env, "SOCKET="+tt.want)...)
			if tt.status == 0 {
				p.waitFor("instant=Started")
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				resp, err := client.Get("http://" + addr)
				require.NoError(t, err)
				resp.Body.Close()
				assert.Equal(t, 404, resp.StatusCode)
				p.signal(syscall.SIGTERM)
			}
			code, _ := p.exit(time.Now())
			assert.Equal(t, tt.status, code, p.out.String())
			assert.Contains(t, p.out.String(), tt.says)
			if tt.status == 0 {
				// The socket is still there, as it is in systemd's hands.
				nc, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				nc.Close()
			}
		})
	}
}

// TestListenFDsIsNotTrusted: it may say more than there is, or mean what is no
// listening socket.
func TestListenFDsIsNotTrusted(t *testing.T) {
	_, good := socket(t)
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	connected, other := os.NewFile(uintptr(pair[0]), "connected"), os.NewFile(uintptr(pair[1]), "other")
	t.Cleanup(func() { connected.Close(); other.Close() })
	for _, tt := range []struct {
		name, names string
		socket      *os.File
		env, says   string
	}{
		{"more than there are", "web", good, "LISTEN_FDS=2000000000", "LISTEN_FDS is 2000000000, but descriptor "},
		{"a file", "web", file, "", `LISTEN_FDS: descriptor 3, \"web\", is not a listening socket: getsockopt: socket operation on non-socket`},
		{"a connection", "web", connected, "", `LISTEN_FDS: descriptor 3, \"web\", is not a listening socket: it does not listen`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := activated(t, tt.names, []*os.File{tt.socket}, "SOCKET=web", tt.env)
			code, _ := p.exit(time.Now())
			assert.Equal(t, 3, code)
			assert.Contains(t, p.out.String(), tt.says)
		})
	}
}

// TestSocketsOfAnotherProcessAreNotTaken: a child inherits the environment.
func TestSocketsOfAnotherProcessAreNotTaken(t *testing.T) {
	t.Parallel()
	p := run(t, "activated", "LISTEN_PID=1", "LISTEN_FDS=1")
	code, _ := p.exit(time.Now())
	assert.Equal(t, 3, code)
	assert.Contains(t, p.out.String(), `systemd passes no sockets: LISTEN_PID is \"1\"`)
}
