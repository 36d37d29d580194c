// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// set sets an environment variable, unless it has what none can have.
func set(t *testing.T, name, value string) {
	if strings.Contains(value, "\x00") {
		t.Skip("no variable has that")
	}
	t.Setenv(name, value)
}

// FuzzEnvironment has any two durations in the environment: either they make a plan
// whose parts fit into the grace period, one after the other, or an error that says
// which of them is wrong, or the sum.
func FuzzEnvironment(f *testing.F) {
	f.Add("30s", "5s", int64(0), int64(0))
	f.Add("", "", int64(0), int64(0))
	f.Add("0", "0", int64(0), int64(0))
	f.Add("9ms", "-0s", int64(time.Millisecond), int64(time.Millisecond))
	f.Add("2562047h47m16.854775807s", "2562047h47m16.854775807s", int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add("-1s", "1", int64(0), int64(0))
	f.Add("30 s", "٣s", int64(-1), int64(0))
	f.Add("1e3s", ".s", int64(0), int64(-1))
	f.Fuzz(func(t *testing.T, grace, floor string, preStop, reserve int64) {
		set(t, "GRACE_PERIOD", grace)
		set(t, "SHUTDOWN_DELAY", floor)
		a := &App{
			PreStop: time.Duration(preStop), Reserve: time.Duration(reserve),
			Logger:     slog.New(slog.DiscardHandler),
			Components: []Component{HTTP("http", &http.Server{Addr: "127.0.0.1:0"})},
		}
		plan, err := a.Plan()
		wantGrace, graceErr := time.ParseDuration(grace)
		wantFloor, floorErr := time.ParseDuration(floor)
		if err != nil {
			assert.ErrorIs(t, err, ErrConfig)
			text := err.Error()
			assert.Equal(t, grace != "" && (graceErr != nil || wantGrace < 0), strings.Contains(text, "GRACE_PERIOD: "), text)
			if strings.Contains(text, "SHUTDOWN_DELAY: ") {
				assert.True(t, floorErr != nil || wantFloor < 0, text)
			}
			return
		}
		if grace != "" {
			assert.Equal(t, wantGrace, plan.GracePeriod)
		}
		if floor != "" {
			assert.Equal(t, wantFloor, plan.Phases[0].Least)
		}
		last := time.Duration(0)
		for _, phase := range plan.Phases {
			assert.LessOrEqual(t, last, phase.By, phase.Name)
			assert.LessOrEqual(t, phase.Least, phase.By, phase.Name)
			last = phase.By
		}
		assert.Positive(t, last)
		assert.LessOrEqual(t, last, plan.GracePeriod-plan.PreStop, "what the orchestrator leaves")
	})
}

// FuzzWatchdogInterval compares with arithmetic that cannot overflow.
func FuzzWatchdogInterval(f *testing.F) {
	own := strconv.Itoa(os.Getpid())
	for _, usec := range []string{"", "0", "1", "-1", "+1", "3000000", "9223372036854775807", "9223372036854775808", "0x10", "1_000", " 1", "3s"} {
		f.Add(usec, "")
		f.Add(usec, own)
		f.Add(usec, "1")
	}
	f.Fuzz(func(t *testing.T, usec, pid string) {
		set(t, "WATCHDOG_USEC", usec)
		set(t, "WATCHDOG_PID", pid)
		own := strconv.Itoa(os.Getpid())
		got, err := watchdogInterval()
		n, ok := new(big.Int).SetString(usec, 10)
		switch {
		case usec == "" || pid != "" && pid != own:
			assert.NoError(t, err)
			assert.Zero(t, got)
		case err != nil:
			assert.Zero(t, got)
			assert.False(t, ok && n.Sign() > 0 && n.IsInt64() && !strings.Contains(usec, "_"), "%q is a number: %v", usec, err)
		default:
			require.True(t, ok, usec)
			want := n.Mul(n, big.NewInt(1000))
			if !want.IsInt64() {
				want.SetInt64(math.MaxInt64 / 1000 * 1000)
			}
			assert.Equal(t, want.Int64(), int64(got))
			assert.Positive(t, got/2, "a ticker's interval")
		}
	})
}

// FuzzNotifications: whatever a reason says, a datagram has one assignment a line, and
// those of the protocol only.
func FuzzNotifications(f *testing.F) {
	f.Add("signal: terminated", "http", "it is broken")
	f.Add("\nREADY=1", "a\r\nSTOPPING=1", "MAINPID=1\n")
	f.Add("\u2028\x00\xff", "\x85", "\v\f")
	assignment := regexp.MustCompile(`\A(?:READY=1|STOPPING=1|STATUS=[^\n]*|EXTEND_TIMEOUT_USEC=[0-9]+)\z`)
	f.Fuzz(func(t *testing.T, reason, component, text string) {
		s := &sent{began: time.Now()}
		n := &notifier{conn: s, grace: time.Second, t0: make(chan time.Time, 1)}
		counts := []int{1, 2, 3, 1, 1}
		n.tell(Event{Instant: "Starting"})
		n.tell(Event{Instant: "Started"})
		n.tell(Event{Instant: "ShutdownInitiated", Reason: reason})
		n.tell(Event{Instant: "Drained", Component: component})
		n.tell(Event{Instant: "Exited", Report: &Report{Reason: reason + text, Pending: []string{component}}})
		require.Len(t, s.lines, len(counts))
		for i, line := range s.lines {
			_, line, _ = strings.Cut(line, " ")
			if strings.Contains(reason+component+text, "|") {
				continue // by which the test knows the lines
			}
			parts := strings.Split(line, "|")
			assert.Len(t, parts, counts[i], line)
			for _, part := range parts {
				assert.Regexp(t, assignment, part)
			}
		}
	})
}

// FuzzPreStop: the endpoint begins the shutdown for its token and for nothing else.
func FuzzPreStop(f *testing.F) {
	f.Add("secret", "Bearer secret", "GET")
	f.Add("secret", "bearer secret", "GET")
	f.Add("secret", "Bearer secret ", "GET")
	f.Add("secret", "Bearer  secret", "GET")
	f.Add("secret", "Bearer secre", "GET")
	f.Add("secret", "secret", "HEAD")
	f.Add("", "Bearer ", "POST")
	f.Add("\x00", "Bearer \x00", "get")
	f.Fuzz(func(t *testing.T, token, authorization, method string) {
		p := &process{app: &App{PreStopToken: token}}
		r := httptest.NewRequest(http.MethodGet, "/prestop", nil)
		r.Method = method
		r.Header["Authorization"] = []string{authorization}
		w := httptest.NewRecorder()
		p.preStop(w, r)
		want := http.StatusForbidden
		switch {
		case method != http.MethodGet:
			want = http.StatusMethodNotAllowed
		case len(authorization) == len("Bearer ")+len(token) && strings.HasPrefix(authorization, "Bearer ") && strings.HasSuffix(authorization, token):
			want = http.StatusOK
		}
		assert.Equal(t, want, w.Code)
		assert.Equal(t, want == http.StatusOK, p.app.reason != nil, "the shutdown")
		if len(token) > 4 && want != http.StatusOK {
			assert.NotContains(t, w.Body.String(), token)
		}
	})
}

// FuzzBlocks: the text of a profile has the same blocks in whatever pieces it comes.
func FuzzBlocks(f *testing.F) {
	f.Add("goroutine profile: total 2\n1 @ 0x1\n#\ta\n\n1 @ 0x2\n#\tb\n\n", uint64(1))
	f.Add("\n\n\n\n", uint64(2))
	f.Add("a\n\nb", uint64(3))
	f.Add("a\n\n\nb\n", uint64(4))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		var got, whole []string
		pieces := blockWriter{each: func(block string) { got = append(got, block) }}
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := text; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 20))
			wrote, err := pieces.Write([]byte(rest[:n]))
			require.NoError(t, err)
			require.Equal(t, n, wrote)
			rest = rest[n:]
		}
		pieces.end()
		whole = strings.Split(text, "\n\n")
		if last := strings.TrimSpace(whole[len(whole)-1]); last == "" {
			whole = whole[:len(whole)-1]
		} else {
			whole[len(whole)-1] = last
		}
		assert.Equal(t, slices.Clip(whole), append([]string{}, got...))
	})
}

// FuzzLabels: labels are found whatever they say, and what a value says is not taken
// for one.
func FuzzLabels(f *testing.F) {
	f.Add("db", "7", "other", "value")
	f.Add(`"lameduck.component":"x"`, "", "a", `, "lameduck.app":"9"`)
	f.Add("\n# labels: {}", "\\", "\"", "\xff\u2028")
	f.Fuzz(func(t *testing.T, component, app, key, value string) {
		if key == stackLabel || key == appLabel {
			return
		}
		// As runtime/pprof writes them: sorted, each as %q.
		pairs := []string{fmt.Sprintf("%q:%q", stackLabel, component), fmt.Sprintf("%q:%q", appLabel, app), fmt.Sprintf("%q:%q", key, value)}
		slices.Sort(pairs)
		labels := labelsOf("1 @ 0x1 0x2\n# labels: {" + strings.Join(pairs, ", ") + "}\n#\t0x1\tmain.f+0x1\tf.go:1")
		for name, want := range map[string]string{stackLabel: component, appLabel: app} {
			got, ok := labelOf(labels, name)
			assert.True(t, ok)
			assert.Equal(t, want, got, "%s in %s", name, labels)
		}
		_, ok := labelOf(labelsOf("1 @ 0x1\n#\tmain.f "+component+value), stackLabel)
		assert.False(t, ok && !strings.Contains(component+value, "\n# labels: "))
	})
}
