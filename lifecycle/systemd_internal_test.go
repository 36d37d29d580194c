// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A sent is a connection that keeps what is written to it, and when.
type sent struct {
	net.Conn
	began time.Time
	mu    sync.Mutex
	lines []string
	waits []time.Duration // how long each may take
}

func (s *sent) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%v %s", time.Since(s.began), strings.ReplaceAll(string(b), "\n", "|")))
	return len(b), nil
}
func (s *sent) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = append(s.waits, time.Until(t))
	return nil
}
func (s *sent) Close() error { return nil }

// during returns what a notifier with a watchdog sends while f runs.
func during(watchdog, grace time.Duration, live func() bool, f func(*notifier)) []string {
	s := &sent{began: time.Now()}
	n := &notifier{s, watchdog, live, grace, make(chan time.Time, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { n.run(ctx) })
	f(n)
	cancel()
	group.Wait()
	return s.lines
}

func TestWatchdogIsFedWhileLivenessIsGreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		live := func() bool { // red from the third second to the fifth
			at := time.Since(began)
			return at < 3*time.Second || at > 5*time.Second
		}
		lines := during(2*time.Second, 0, live, func(*notifier) { time.Sleep(6500 * time.Millisecond) })
		assert.Equal(t, []string{"1s WATCHDOG=1", "2s WATCHDOG=1", "6s WATCHDOG=1"}, lines)
	})
}

// TestNotificationsMayTakeATenthOfASecond: more is not waited for where nobody reads.
func TestNotificationsMayTakeATenthOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(sent)
		n := &notifier{conn: s, t0: make(chan time.Time, 1)}
		for _, instant := range []string{"Starting", "Started", "ShutdownInitiated", "Drained"} {
			n.tell(Event{Instant: instant})
			time.Sleep(time.Second)
		}
		const tenth = 100 * time.Millisecond
		assert.Equal(t, []time.Duration{tenth, tenth, tenth, tenth}, s.waits)
	})
}

func TestMoreTimeIsAskedForUntilTheEndOfTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := during(0, 7*time.Second, nil, func(n *notifier) {
			time.Sleep(time.Minute)
			n.tell(Event{Instant: "ShutdownInitiated", Time: time.Now(), Reason: "signal:\nterminated"})
			time.Sleep(time.Minute)
		})
		assert.Equal(t, []string{
			"1m0s STOPPING=1|STATUS=shutting down: signal: terminated|EXTEND_TIMEOUT_USEC=5000000",
			"1m1s EXTEND_TIMEOUT_USEC=5000000",
			"1m2s EXTEND_TIMEOUT_USEC=5000000",
			"1m3s EXTEND_TIMEOUT_USEC=4000000",
			"1m4s EXTEND_TIMEOUT_USEC=3000000",
			"1m5s EXTEND_TIMEOUT_USEC=2000000",
			"1m6s EXTEND_TIMEOUT_USEC=1000000",
		}, lines)
	})
}

// TestSecurityNotificationsAreNotForged: what others have named or said stays in the one
// assignment that it is for.
func TestSecurityNotificationsAreNotForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const forged = "over\nWATCHDOG=trigger\r\nSTOPPING=1"
		lines := during(0, time.Second, nil, func(n *notifier) {
			n.tell(Event{Instant: "ShutdownInitiated", Time: time.Now(), Reason: forged})
			n.tell(Event{Instant: "Drained", Component: forged})
			n.tell(Event{Instant: "Exited", Report: &Report{Reason: forged, Pending: []string{forged}}})
		})
		const text = "over WATCHDOG=trigger STOPPING=1"
		require.Len(t, lines, 3)
		assert.Equal(t, []string{
			"0s STOPPING=1|STATUS=shutting down: " + text + "|EXTEND_TIMEOUT_USEC=1000000",
			"0s STATUS=" + text + ": drained",
		}, lines[:2])
		assert.Regexp(t, "^0s STATUS="+text+": took [^|]*not stopped "+text+"[^|]*$", lines[2])
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := prepare(&App{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		assert.True(t, p.live())
		require.NoError(t, p.probes.AddLiveness("own", func() error { return errors.New("stuck") }))
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { p.probes.Run(ctx) })
		synctest.Wait()
		assert.False(t, p.live())
		cancel()
		group.Wait()
		go p.story.courier.run()
		p.story.courier.close()
	})
}

func TestWatchdogInterval(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
		err       string
	}{
		{"", "", 0, ""},
		{"3000000", "", 3 * time.Second, ""},
		{"3000000", own, 3 * time.Second, ""},
		{"3000000", "1", 0, ""},
		{"9223372036854775807", own, 9223372036854775 * time.Microsecond, ""},
		{"0", own, 0, `WATCHDOG_USEC: "0" is not a number of microseconds`},
		{"-1", own, 0, `WATCHDOG_USEC: "-1" is not a number of microseconds`},
		{"3s", own, 0, `WATCHDOG_USEC: "3s" is not a number of microseconds`},
	} {
		t.Run(tt.usec+" "+tt.pid, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			got, err := watchdogInterval()
			assert.Equal(t, tt.want, got)
			if tt.err != "" {
				assert.EqualError(t, err, tt.err)
				return
			}
			assert.NoError(t, err)
		})
	}
}
