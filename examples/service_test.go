// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package examples_test

import (
	"fmt"
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

	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// TestServiceFinishesItsOrders: what was accepted is saved before the database is
// closed, with the library and by hand.
func TestServiceFinishesItsOrders(t *testing.T) {
	for _, name := range []string{"service", "byhand"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ports := []string{proc.Port(proc.FreeAddr(t)), proc.Port(proc.FreeAddr(t)), proc.Port(proc.FreeAddr(t))}
			p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), filepath.Join(bin, name)),
				"PORT="+ports[0], "PROBE_PORT="+ports[1], "ADMIN_PORT="+ports[2])
			p.Ready("http://127.0.0.1:"+ports[1]+"/readyz", time.Minute)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			const accepted = 20
			for i := range accepted {
				resp, err := client.Post(fmt.Sprintf("http://127.0.0.1:%s/orders?of=%d", ports[0], i), "", nil)
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, http.StatusAccepted, resp.StatusCode)
			}
			p.Signal(syscall.SIGTERM)
			exit := p.Wait(30 * time.Second)
			assert.Equal(t, 0, exit.Status, exit.Output)
			assert.Contains(t, exit.Output, fmt.Sprintf("the database has %d orders", accepted))
			if name == "service" {
				assert.ElementsMatch(t, []string{"Started", "ShutdownInitiated", "AcceptWindowClosed", "AcceptWindowClosed",
					"Drained", "Drained", "Drained", "ComponentsStopped", "Exited"}, exit.Instants)
				assert.Equal(t, "Exited", exit.Instants[len(exit.Instants)-1])
			}
		})
	}
}

// TestComparedIsTheProgram: the page that compares the program shows it as it is.
func TestComparedIsTheProgram(t *testing.T) {
	program, err := os.ReadFile(filepath.Join("service", "main.go"))
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join("..", "lifecycle", "COMPARED.md"))
	require.NoError(t, err)
	_, text, found := strings.Cut(string(program), "func main() {")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n}\n")
	assert.Contains(t, string(page), text)
	assert.LessOrEqual(t, strings.Count(text, "\n"), 30, "lines of a main")
}
