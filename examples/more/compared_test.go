// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package more_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain/draintest"
	"github.com/lameduck-go/lameduck/internal/proc"
	"github.com/lameduck-go/lameduck/lifecycle/lifecycletest"
)

// A contender is a program of COMPARED.md.
type contender struct {
	title, source string // its heading there, and its directory
	shown         bool   // whole, rather than by a link
	loses         bool   // requests, under clients that learn late
}

var contenders = []contender{
	{"Lameduck", "../service", true, false},
	{"By hand, with net/http", "../byhand", false, false},
	{"oklog/run", "oklogrun", true, true},
	{"fx", "fx", true, true},
}

// TestComparedIsWhatIsCompiled: the page shows the programs as they are, and counts
// their lines.
func TestComparedIsWhatIsCompiled(t *testing.T) {
	text, err := os.ReadFile("../../lifecycle/COMPARED.md")
	require.NoError(t, err)
	page := string(text)
	counts := strings.Split(lineOf(page, "| lines |"), "|")[2:]
	for i, c := range contenders {
		program, err := os.ReadFile(filepath.Join(c.source, "main.go"))
		require.NoError(t, err)
		_, body, found := strings.Cut(string(program), "func main() {")
		require.True(t, found)
		body, _, found = strings.Cut("func main() {"+body, "\n\nfunc port(")
		require.True(t, found)
		lines := 0
		for line := range strings.Lines(body) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		assert.Equal(t, strconv.Itoa(lines), strings.TrimSpace(counts[i]), c.title)
		if _, section, found := strings.Cut(page, "\n## "+c.title+"\n"); assert.True(t, found, c.title) && c.shown {
			section, _, _ = strings.Cut(section, "\n## ")
			assert.Contains(t, section, body)
		}
	}
}

// lineOf returns the first line that begins with prefix.
func lineOf(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

// TestComparedLosses rolls the four programs under clients that never retry, and learn
// of a termination within two seconds. The table of the page is what it logs:
//
//	cd examples/more && LAMEDUCK_TERMINATIONS=10 go test -count=1 -timeout 30m -run TestComparedLosses -v .
func TestComparedLosses(t *testing.T) {
	terminations := 1
	if s := os.Getenv("LAMEDUCK_TERMINATIONS"); s != "" {
		var err error
		terminations, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for _, c := range contenders {
		t.Run(c.title, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			out, err := exec.CommandContext(t.Context(), "go", "build", "-C", c.source, "-o", program, ".").CombinedOutput()
			require.NoError(t, err, string(out))
			// Fewer orders than the worker saves in the time.
			const low, high = 200 * time.Millisecond, 600 * time.Millisecond
			report, err := draintest.Roll(t.Context(), draintest.Config{
				Command:      []string{program},
				Env:          []string{"ADMIN_PORT=0", "SHUTDOWN_DELAY=2s", "GRACE_PERIOD=30s"},
				Path:         "/orders?of=1",
				Terminations: terminations,
				Kinds: []draintest.Kind{
					{Name: "keeps its connection", MinThink: low, MaxThink: high, Clients: 10},
					{Name: "new connection", NewConn: true, MinThink: low, MaxThink: high, Clients: 10},
				},
			})
			require.NoError(t, err)
			sent := 0
			for _, k := range report.Kinds {
				sent += k.Sent
			}
			median, worst := report.Exit()
			t.Logf("%s: %d of %d requests lost in %d terminations; to the exit %.2f s median, %.2f s worst\n%v",
				c.title, report.Lost(), sent, terminations, median.Seconds(), worst.Seconds(), report)
			switch {
			case c.source == "../service":
				assert.Zero(t, report.Lost())
			case c.loses:
				assert.NotZero(t, report.Lost(), "then the page is wrong")
			}
		})
	}
}

// TestComparedSaveTheirOrders: what was accepted is saved before the database is
// closed. The two of the root module are tested there.
func TestComparedSaveTheirOrders(t *testing.T) {
	for _, name := range []string{"oklogrun", "fx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, probes := proc.FreeAddr(t), proc.FreeAddr(t)
			p := lifecycletest.StartProcess(t, exec.CommandContext(t.Context(), filepath.Join(bin, name)),
				"PORT="+proc.Port(addr), "PROBE_PORT="+proc.Port(probes), "ADMIN_PORT=0")
			p.Ready("http://"+probes+"/readyz", time.Minute)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for range 20 {
				resp, err := client.Post("http://"+addr+"/orders?of=1", "", nil)
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, http.StatusAccepted, resp.StatusCode)
			}
			p.Signal(syscall.SIGTERM)
			exit := p.Wait(30 * time.Second)
			assert.Equal(t, 0, exit.Status, exit.Output)
			assert.Contains(t, exit.Output, "the database has 20 orders")
		})
	}
}
