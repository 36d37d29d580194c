// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package main

import (
	"debug/elf"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

var (
	buildCommand = regexp.MustCompile(`cd "\$DIR" && ([A-Z_=0-9]*) go build (.*) -o /service \.`)
	userCommand  = regexp.MustCompile(`(?m)^USER (\d+:\d+)$`)
)

// image builds what the Dockerfile builds, as it does, into the root of a container
// that has nothing else, and returns that and the user.
func image(t *testing.T) (root, user string) {
	dockerfile, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	build := buildCommand.FindStringSubmatch(string(dockerfile))
	require.NotNil(t, build)
	assert.NotRegexp(t, `(?m)^RUN --mount`, string(dockerfile), "docker without buildx refuses it")
	owner := userCommand.FindStringSubmatch(string(dockerfile))
	require.NotNil(t, owner)
	root = t.TempDir()
	flags := strings.Fields(strings.ReplaceAll(build[2], `"`, ""))
	flags = strings.Split(strings.Replace(strings.Join(flags, "\x00"), "-ldflags=-s\x00-w", "-ldflags=-s -w", 1), "\x00")
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", filepath.Join(root, "service"), ".")...)
	cmd.Env = append(os.Environ(), build[1])
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return root, owner[1]
}

func TestImage(t *testing.T) {
	root, user := image(t)
	t.Run("is static", func(t *testing.T) { static(t, root) })
	t.Run("runs without rights", func(t *testing.T) { withoutRights(t, root, user) })
	t.Run("is asked by the pre-stop hook", func(t *testing.T) { preStopHook(t, root) })
	t.Run("has a sidecar before and after it", func(t *testing.T) { sidecar(t, root) })
	t.Run("loses nothing", func(t *testing.T) { roll(t, root) })
}

func static(t *testing.T, root string) {
	binary, err := elf.Open(filepath.Join(root, "service"))
	require.NoError(t, err)
	defer binary.Close()
	for _, p := range binary.Progs {
		assert.NotEqual(t, elf.PT_INTERP, p.Type, "it asks for a dynamic linker")
	}
	assert.Nil(t, binary.Section(".debug_info"))
}

// free returns a port that nobody has.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// A container is the program as a container runs it, but for the network: nothing but
// the image for a root, which cannot be written to, and no rights.
func container(t *testing.T, root, user string, env ...string) *lifecycletest.Process {
	const script = `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" &&
		exec setpriv --no-new-privs chroot --userspec="$2" "$1" /service`
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", root, user)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return lifecycletest.StartProcess(t, cmd, env...)
}

func withoutRights(t *testing.T, root, user string) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to give it up in a file system that cannot be written to")
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("needs a mount namespace of its own: %v: %s", err, out)
	}
	port, probePort := free(t), free(t)
	p := container(t, root, user, "PORT="+port, "PROBE_PORT="+probePort, "GRACE_PERIOD=30s", "SHUTDOWN_DELAY=0s")
	p.Ready("http://127.0.0.1:"+probePort+"/readyz", 20*time.Second)
	assert.Equal(t, strings.Repeat("x", 27_000), get(t, "http://127.0.0.1:"+port+"/work?bytes=27000"))

	proc := "/proc/" + pidOf(t, filepath.Join(root, "service"))
	status, err := os.ReadFile(proc + "/status")
	require.NoError(t, err)
	mounts, err := os.ReadFile(proc + "/mountinfo")
	require.NoError(t, err)
	assert.Regexp(t, `^\d+ \d+ \S+ \S+ / ro[, ][^\n]*\n$`, string(mounts), "one mount, which cannot be written to")
	assert.Regexp(t, `Uid:\t65532\t65532\t65532\t65532\n`, string(status))
	assert.Regexp(t, `CapEff:\t0000000000000000\n`, string(status))
	assert.Regexp(t, `NoNewPrivs:\t1\n`, string(status))

	p.Signal(syscall.SIGTERM)
	exit := p.Wait(20 * time.Second)
	assert.Equal(t, 0, exit.Status, exit.Output)
}

// pidOf returns the process that runs an executable.
func pidOf(t *testing.T, executable string) string {
	want, err := os.Stat(executable)
	require.NoError(t, err)
	files, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && os.SameFile(info, want) {
			return filepath.Base(filepath.Dir(file))
		}
	}
	t.Fatalf("nobody runs %s", executable)
	return ""
}

func get(t *testing.T, url string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
	return string(body)
}

// preStopHook asks as the kubelet does, by what prestop.yaml says.
func preStopHook(t *testing.T, root string) {
	var manifest struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Lifecycle struct {
							PreStop struct {
								HTTPGet struct {
									Path    string
									Headers []struct{ Name, Value string } `yaml:"httpHeaders"`
								} `yaml:"httpGet"`
							} `yaml:"preStop"`
						}
					}
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "prestop.yaml")), &manifest))
	hook := manifest.Spec.Template.Spec.Containers[0].Lifecycle.PreStop.HTTPGet
	require.Len(t, hook.Headers, 1)

	port, probePort := free(t), free(t)
	p := lifecycletest.StartProcess(t, exec.Command(filepath.Join(root, "service")),
		"PORT="+port, "PROBE_PORT="+probePort, "PRE_STOP_TOKEN="+manifests["prestop.yaml"]["PRE_STOP_TOKEN"])
	p.Ready("http://127.0.0.1:"+probePort+"/readyz", 20*time.Second)
	answer := get(t, "http://127.0.0.1:"+probePort+hook.Path, hook.Headers[0].Name, hook.Headers[0].Value)
	assert.Equal(t, "the accept window is over\n", answer)
	exit := p.Wait(20 * time.Second) // without any signal
	assert.Equal(t, 0, exit.Status, exit.Output)
}

// sidecar has the order of sidecar.yaml: the sidecar is there before and after.
func sidecar(t *testing.T, root string) {
	service := filepath.Join(root, "service")
	cachePort, cacheProbes := free(t), free(t)
	cache := lifecycletest.StartProcess(t, exec.Command(service),
		"PORT="+cachePort, "PROBE_PORT="+cacheProbes, "GRACE_PERIOD=2s", "SHUTDOWN_DELAY=0s")
	cache.Ready("http://127.0.0.1:"+cacheProbes+"/startupz", 20*time.Second)

	port, probePort := free(t), free(t)
	p := lifecycletest.StartProcess(t, exec.Command(service),
		"PORT="+port, "PROBE_PORT="+probePort, "CACHE_ADDR=127.0.0.1:"+cachePort)
	p.Ready("http://127.0.0.1:"+probePort+"/readyz", 20*time.Second)
	for _, each := range []*lifecycletest.Process{p, cache} {
		each.Signal(syscall.SIGTERM)
		exit := each.Wait(20 * time.Second)
		assert.Equal(t, 0, exit.Status, exit.Output)
	}
}

func roll(t *testing.T, root string) {
	report, err := draintest.Roll(t.Context(), draintest.Config{
		Command:      []string{filepath.Join(root, "service")},
		Env:          []string{"GRACE_PERIOD=30s", "SHUTDOWN_DELAY=2s"},
		Terminations: 2,
		Propagation:  time.Second,
	})
	require.NoError(t, err)
	assert.Zero(t, report.Lost(), report)
	t.Log(report)
}
