// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/internal/proc"
)

// natsEnv makes the test binary a NATS server on that port; natsDirEnv is where it keeps
// its streams.
const natsEnv, natsDirEnv = "LAMEDUCK_TEST_NATS", "LAMEDUCK_TEST_NATS_DIR"

func natsServer() {
	var port int
	fmt.Sscan(os.Getenv(natsEnv), &port)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: os.Getenv(natsDirEnv), NoSigs: true, NoLog: true,
	})
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		panic("the NATS server does not start")
	}
	fmt.Println("ready to accept connections")
	select {}
}

// A backend is a server of others that can be killed and brought back.
type backend struct {
	t       *testing.T
	command func() *exec.Cmd
	ready   string    // what it says once it is
	kill    os.Signal // what ends it at once
	cmd     *exec.Cmd // that runs
	*proc.Process
}

// begin starts the server, and returns when it is ready.
func (b *backend) begin() {
	b.t.Helper()
	var err error
	b.cmd = b.command()
	b.Process, err = proc.Start(b.t, b.cmd)
	require.NoError(b.t, err)
	b.Await(b.ready, patience)
}

// end ends the server, if it runs.
func (b *backend) end() {
	b.Signal(b.kill)
	b.Wait()
}

func startBackend(t *testing.T, ready string, kill os.Signal, command func() *exec.Cmd) *backend {
	t.Helper()
	b := &backend{t: t, command: command, ready: ready, kill: kill}
	b.begin()
	t.Cleanup(func() { b.end() }) // before its directory goes
	return b
}

func startNATS(t *testing.T) (b *backend, url string) {
	t.Helper()
	addr, dir := proc.FreeAddr(t), t.TempDir()
	return startBackend(t, "ready to accept", os.Kill, func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), natsEnv+"="+proc.Port(addr), natsDirEnv+"="+dir)
		return cmd
	}), "nats://" + addr
}
