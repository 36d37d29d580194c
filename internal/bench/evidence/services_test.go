// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
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

	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// peersEnv asks for those too that take long to compile.
const peersEnv = "LAMEDUCK_PEERS"

// TestServicesEndBySIGTERM: each of them serves, is ready, and leaves well when it is
// told to.
func TestServicesEndBySIGTERM(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM to be sent")
	}
	shop := newShop("../../..", t.TempDir())
	told := make(map[string]bool)
	for _, v := range services {
		if told[v.program] {
			continue // the same program, deployed in another way
		}
		told[v.program] = true
		t.Run(v.name, func(t *testing.T) {
			if v.heavy && os.Getenv(peersEnv) != "all" {
				t.Skip("takes long to compile: make peers")
			}
			command, err := shop.command(t.Context(), v)
			require.NoError(t, err)
			exit := serve(t, v, command)
			assert.Equal(t, 0, exit.Status, exit.Output)
		})
	}
}

// serve runs a service, asks it once, and tells it to leave.
func serve(t *testing.T, v service, command []string) lifecycletest.Exit {
	addr, probes := proc.FreeAddr(t), proc.FreeAddr(t)
	env := append([]string{"PORT=" + proc.Port(addr), "PROBE_PORT=" + proc.Port(probes), "XDG_DATA_HOME=" + t.TempDir()}, v.env...)
	p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), command[0], command[1:]...), env...)
	p.Ready("http://"+probes+"/readyz", time.Minute)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+addr+"/work", "", strings.NewReader("work"))
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	p.Signal(syscall.SIGTERM)
	return p.Wait(time.Minute)
}

func TestPrestopSleepsAndPassesTheSignalOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM to be sent")
	}
	shop := newShop("../../..", t.TempDir())
	command, err := shop.command(t.Context(), service{program: "nethttp", prestop: true})
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(shop.dir, "prestop"), "5s", filepath.Join(shop.dir, "nethttp")}, command)
	command[1] = "300ms"
	exit := serve(t, service{}, command)
	assert.Equal(t, 0, exit.Status, exit.Output)
	assert.GreaterOrEqual(t, exit.Took, 300*time.Millisecond)
}

func TestServiceThatDoesNotCompileIsLeftOut(t *testing.T) {
	shop := newShop("../../..", t.TempDir())
	_, err := shop.command(t.Context(), service{program: "none"})
	assert.ErrorContains(t, err, "exit status 1")
}

func TestLinesAreThoseOfTheFunctions(t *testing.T) {
	n, err := functionLines("package main\n\nimport \"x\"\n\n// main is\nfunc main() {\n\t// why\n\tx.Y()\n\n\tz()\n}\n\nfunc z() {}\n")
	require.NoError(t, err)
	assert.Equal(t, 5, n)
	_, err = functionLines("package main")
	assert.EqualError(t, err, "no function")
	assert.Equal(t, 2, count("# no\nadmin off\n\n  }\n", "#"))
	shop := newShop("../../..", "")
	for _, v := range services {
		n, err := shop.lines(v)
		require.NoError(t, err)
		assert.Positive(t, n, v.name)
	}
}

func TestVersionIsShort(t *testing.T) {
	assert.Equal(t, "v1.2.0", shortVersion("v1.2.0"))
	assert.Equal(t, "de1ec7541c44", shortVersion("v0.0.0-20260703122047-de1ec7541c44"))
	shop := newShop("../../..", "")
	for _, v := range services {
		version, err := shop.version(t.Context(), v)
		require.NoError(t, err)
		assert.Equal(t, v.module != "" || v.program == caddy, version != "", v.name)
	}
}
