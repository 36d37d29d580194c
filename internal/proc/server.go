// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package proc

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// startWithin is how long a server may take to start, on a machine that does much else.
const startWithin = 30 * time.Second

// A Server is a process that listens on a port, and on one for its probes.
type Server struct {
	*Process
	Addr, Probe string
}

// Serve starts a server and returns once it says that it has started. It is told its
// ports by PORT and PROBE_PORT; "PROBE_PORT=PORT" in env makes them one. Of the
// environment of the test it has what does not change a server's defaults.
func Serve(t testing.TB, command string, env ...string) *Server {
	t.Helper()
	s := &Server{Addr: FreeAddr(t), Probe: FreeAddr(t)}
	cmd := exec.CommandContext(t.Context(), command)
	cmd.Env = append(Environ(), "PORT="+Port(s.Addr), "PROBE_PORT="+Port(s.Probe))
	cmd.Env = append(cmd.Env, env...)
	if slices.Contains(env, "PROBE_PORT=PORT") {
		s.Probe = s.Addr
		cmd.Env = append(cmd.Env, "PROBE_PORT="+Port(s.Addr))
	}
	var err error
	if s.Process, err = Start(t, cmd); err != nil {
		t.Fatal(err)
	}
	s.Await("instant=Started", startWithin)
	return s
}

// Get returns the status of an answer, or 0. It leaves no connection behind.
func (s *Server) Get(addr, path string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Environ returns the environment without what would change a server's defaults.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"PORT", "PROBE_PORT", "GRACE_PERIOD", "SHUTDOWN_DELAY", "KUBERNETES_SERVICE_HOST", "TLS_CERT", "TLS_KEY"}, name)
	})
}

// FreeAddr returns a loopback address that nobody listens on. It is outside the range
// from which Linux takes the ports of outgoing connections, of which tests make many.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 20000+rand.N(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// Port returns the port of an address.
func Port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// Build builds the programs of the test's directory and below into a new one, for
// TestMain.
func Build() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "programs"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
}
