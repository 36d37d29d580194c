// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/lameduck-go/lameduck/drain"
	"github.com/lameduck-go/lameduck/internal/kubernetes"
)

// maxStop is the part of the budget that belongs to the components' stop
// functions alone, or a quarter of the budget if that is less.
const maxStop = 5 * time.Second

// least is what the components' stop functions and the reserve need each, unless the
// reserve is set: in less than that a process cannot even be left.
const least = 10 * time.Millisecond

// A budget is the grace period, cut into parts.
type budget struct {
	grace, preStop, reserve time.Duration
	floor                   time.Duration // of servers that set none
	stop                    time.Duration
	graceFrom, floorFrom    string // the environment variables, if it was they
}

// total is the time from T0 to the deadline. It is positive if there is any.
func (b budget) total() time.Duration { return max(b.grace-b.preStop, 0) - b.reserve }

// drain is the time from T0 in which the servers have to be drained.
func (b budget) drain() time.Duration { return b.total() - b.stop }

// flushed is the time from T0 by which Flush has to have returned, if it begins at
// the deadline. What is left
// of the reserve after it is for the delay of the orchestrator's signal, and for
// the exit.
func (b budget) flushed() time.Duration { return b.total() + b.reserve/2 }

// flushBy is the time from T0 by which a Flush that begins at the time begin has to
// have returned: an exporter whose collector is gone does not hold the exit for all that
// the others have left.
func (b budget) flushBy(begin time.Duration) time.Duration {
	return min(begin+max(b.stop, b.reserve/2), b.flushed())
}

// overdue is the time from T0 by which Run has to have returned, if nothing but
// hooks, observers and the log can hang.
func (b budget) overdue() time.Duration { return b.flushed() + b.reserve/4 }

// newBudget reads the App's times and those of the environment.
func newBudget(a *App) (budget, error) {
	b := budget{preStop: a.PreStop, reserve: a.Reserve}
	var err error
	if b.grace, b.graceFrom, err = orEnv(a.GracePeriod, "GRACE_PERIOD", DefaultGracePeriod); err != nil {
		return b, err
	}
	var floor time.Duration
	if kubernetes.Inside() {
		floor = drain.DefaultFloor
	}
	if b.floor, b.floorFrom, err = orEnv(a.Floor, "SHUTDOWN_DELAY", floor); err != nil {
		return b, err
	}
	b.floor = max(b.floor, 0)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"grace period", b.grace}, {"pre-stop hook", b.preStop}, {"reserve", b.reserve}} {
		if d.value < 0 {
			return b, fmt.Errorf("%s is negative: %v", d.name, d.value)
		}
	}
	if b.reserve == 0 {
		b.reserve = max(min(DefaultReserve, b.grace/4), least)
	}
	b.stop = max(min(maxStop, b.total()/4), least)
	return b, nil
}

// check reports an error if a server's floor does not fit the grace period, with
// the sum written out.
func (b budget) check(floor time.Duration) error {
	finish := min(drain.CancelMargin, max(b.drain(), 0)/4)
	sum := sum(b.preStop, floor, finish, b.stop, b.reserve)
	if b.total() > 0 && sum <= b.grace {
		return nil
	}
	floorFrom := ""
	if floor == b.floor {
		floorFrom = b.floorFrom
	}
	return fmt.Errorf("the grace period of %v%s is too short: pre-stop hook %v + floor %v%s + finishing requests %v + stopping components %v + reserve %v = %v",
		b.grace, b.graceFrom, b.preStop, floor, floorFrom, finish, b.stop, b.reserve, sum)
}

// sum adds durations, and stops at the longest one there is.
func sum(durations ...time.Duration) (sum time.Duration) {
	for _, d := range durations {
		sum += min(d, math.MaxInt64-sum)
	}
	return sum
}

// orEnv returns d, or the duration in the environment variable name, or def. A
// zero in the environment is an explicit one. If the environment decided, from
// says so, for an error.
func orEnv(d time.Duration, name string, def time.Duration) (value time.Duration, from string, err error) {
	if d != 0 {
		return d, "", nil
	}
	s := os.Getenv(name)
	if s == "" {
		return def, "", nil
	}
	if value, err = time.ParseDuration(s); err != nil {
		return 0, "", fmt.Errorf("%s: %q is not a duration such as 30s", name, s)
	}
	if value < 0 {
		return 0, "", fmt.Errorf("%s: %q is negative", name, s)
	}
	return value, " (" + name + ")", nil
}
