// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// extendEvery is how often the service manager is asked for more time to
	// stop, and extendBy for how much. A process that is stuck as a whole stops
	// asking.
	extendEvery = time.Second
	extendBy    = 5 * time.Second

	// notifyWait is how long a datagram may take to be sent.
	notifyWait = 100 * time.Millisecond
)

// A notifier tells systemd what the process is doing, by the protocol of
// sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names.
type notifier struct {
	conn     net.Conn
	watchdog time.Duration // how often systemd wants a sign of life; 0: never
	live     func() bool
	grace    time.Duration  // the time from T0 until nobody may ask for more
	t0       chan time.Time // capacity 1
}

// newNotifier returns nil if there is nobody to notify. An error with a notifier is
// that of the watchdog alone.
func newNotifier(live func() bool, grace time.Duration) (*notifier, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	watchdog, noWatchdog := watchdogInterval()
	conn, err := net.Dial("unixgram", path) // which knows "@" for the abstract name space
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &notifier{conn, watchdog, live, grace, make(chan time.Time, 1)}, noWatchdog
}

// watchdogInterval returns how often WATCHDOG_USEC wants a sign of life, or 0 if
// it is not this process that it means.
func watchdogInterval() (time.Duration, error) {
	s := os.Getenv("WATCHDOG_USEC")
	if pid := os.Getenv("WATCHDOG_PID"); s == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	usec, err := strconv.ParseInt(s, 10, 64)
	if err != nil || usec <= 0 {
		return 0, fmt.Errorf("WATCHDOG_USEC: %q is not a number of microseconds", s)
	}
	return time.Duration(min(usec, math.MaxInt64/1000)) * time.Microsecond, nil
}

// tell turns an event into a notification.
func (n *notifier) tell(e Event) {
	switch e.Instant {
	case "Starting":
		n.send("STATUS=starting")
	case "Started":
		n.send("READY=1\nSTATUS=started")
	case "ShutdownInitiated":
		n.send("STOPPING=1\nSTATUS=shutting down: " + oneLine(e.Reason) + "\n" + extension(min(extendBy, n.grace)))
		n.t0 <- e.Time
	case "AcceptWindowClosed", "Drained", "ComponentsStopped", "Flushed":
		status := instants[e.Instant]
		if e.Component != "" {
			status = e.Component + ": " + status
		}
		n.send("STATUS=" + oneLine(status))
	case "Exited":
		n.send("STATUS=" + oneLine(e.Report.String()))
	}
}

// oneLine returns text that cannot be taken for more than one assignment.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// extension asks for more time. It counts from the message, and only beyond the
// timeout that the unit has anyway.
func extension(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}

// send sends a datagram, in which systemd expects one assignment a line. There is
// nobody to tell of an error.
func (n *notifier) send(state string) {
	n.conn.SetWriteDeadline(time.Now().Add(notifyWait))
	n.conn.Write([]byte(state))
}

// run sends what is sent again and again, until ctx ends: signs of life while
// liveness is green, and from T0 on requests for more time, but not beyond the end
// of the grace period.
func (n *notifier) run(ctx context.Context) {
	defer n.conn.Close()
	var alive, more <-chan time.Time
	if n.watchdog > 0 {
		ticker := time.NewTicker(n.watchdog / 2) // as sd_watchdog_enabled(3) recommends
		defer ticker.Stop()
		alive = ticker.C
	}
	var end time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-alive:
			if n.live() {
				n.send("WATCHDOG=1")
			}
		case t0 := <-n.t0:
			end = t0.Add(n.grace)
			ticker := time.NewTicker(extendEvery)
			defer ticker.Stop()
			more = ticker.C
		case <-more:
			if left := min(time.Until(end), extendBy); left > 0 {
				n.send(extension(left))
			}
		}
	}
}

// live reports whether the liveness probe passes.
func (p *process) live() bool { return p.probes.Status().Live }
