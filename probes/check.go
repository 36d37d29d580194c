// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Defaults for the fields of [Check], and for liveness checks.
const (
	DefaultTimeout  = 1 * time.Second
	DefaultInterval = 5 * time.Second
)

// A Check is a readiness check. It is critical, unless it is made optional or
// shared: while a critical check fails, the process is not ready.
type Check struct {
	// Name is what answers and log lines call the check. It is required, of
	// printable characters, and unique among the readiness checks of a registry.
	Name string

	// Func returns nil when the check passes. It is required. Its context ends
	// at Timeout and when that of Run does. It is never called while an earlier
	// call still runs, nor with the context of a probe's request.
	Func func(ctx context.Context) error

	// DependsOn names the readiness checks that have to pass for this one to
	// have a chance. While one of them fails, this check is not called: it is
	// skipped, and answers name the cause at the root.
	DependsOn []string

	// Timeout is how long a run may take before it counts as a failure; what
	// Func returns after it does not count. Zero means DefaultTimeout; negative
	// is an error.
	Timeout time.Duration

	// Interval is the time between the end of a run and the start of the next.
	// Zero means DefaultInterval; negative is an error.
	Interval time.Duration

	// FailingInterval takes the place of Interval after a failure, until the
	// check passes. Zero means Interval; negative is an error.
	FailingInterval time.Duration

	// Jitter is how much of an interval is taken off at random at most, so that
	// replicas do not ask the same dependency at the same moment. Zero means a
	// tenth of the interval; negative means none.
	Jitter time.Duration

	// TTL, if positive, lets the check run on demand instead of at an interval:
	// when a probe over HTTP finds that its result is older than that. All
	// probes that come meanwhile wait for that one run, until it is late, or one
	// of what it depends on is, and for 800 ms at most. Status and Watch do not ask: the check fails until a probe
	// has come. Once it was asked for, it is also run when what it depends on has
	// recovered; if its last run still goes on then, as soon as that is over. A
	// check that depends on it and runs at an interval does ask, and then once it
	// fails it is run again after FailingInterval. Zero means at an interval;
	// negative is an error.
	TTL time.Duration

	// FailureThreshold is how many runs in a row have to fail before a check
	// that passes is failing. While a run hangs, each interval counts as a
	// failure. From the first failure until that is decided, checks that depend
	// on this one are not started: they stay what they are, and see what it has
	// come to that much later. Zero means 1; negative is an error.
	FailureThreshold int

	// SuccessThreshold is how many runs in a row have to succeed before a check
	// that is failing passes. Zero means 1; negative is an error.
	SuccessThreshold int

	// InitiallyPassing lets the check pass until its first result, which has to
	// come within Interval and Timeout. Otherwise it is failing until then.
	InitiallyPassing bool

	// Optional says that the process does without: whatever becomes of the
	// check, it is reported as degraded, and is ready.
	Optional bool

	// Tolerate, if positive, says that the check is of something that all
	// replicas share, and for how long its failure is only reported as degraded.
	// It begins to count once the check has passed; until then nothing is
	// tolerated. Checks that depend on it are tolerated as long. Negative is an
	// error.
	Tolerate time.Duration

	// TolerateShare, if positive, is the share of the time for which failures
	// are tolerated in the long run: what was used of Tolerate comes back at
	// this rate while the check passes. Zero means that it all comes back as
	// soon as the check does. Negative, 1 or more, and a share without Tolerate, are
	// errors.
	TolerateShare float64
}

// valid reports what is wrong with the check by itself.
func (c *Check) valid() error {
	switch {
	case c.Func == nil:
		return fmt.Errorf("has no function")
	case !printable(c.Name):
		return fmt.Errorf("has characters in its name that cannot be printed")
	case c.Timeout < 0:
		return fmt.Errorf("has the negative timeout %v", c.Timeout)
	case c.Interval < 0:
		return fmt.Errorf("has the negative interval %v", c.Interval)
	case c.FailingInterval < 0:
		return fmt.Errorf("has the negative failing interval %v", c.FailingInterval)
	case c.TTL < 0:
		return fmt.Errorf("has the negative time to live %v", c.TTL)
	case c.FailureThreshold < 0:
		return fmt.Errorf("has the negative failure threshold %d", c.FailureThreshold)
	case c.SuccessThreshold < 0:
		return fmt.Errorf("has the negative success threshold %d", c.SuccessThreshold)
	case c.Tolerate < 0:
		return fmt.Errorf("tolerates the negative time %v", c.Tolerate)
	case c.Tolerate > 0 && c.Optional:
		return fmt.Errorf("is optional and shared at once")
	case !(c.TolerateShare >= 0 && c.TolerateShare < 1): // not a number, too
		return fmt.Errorf("tolerates the share %v", c.TolerateShare)
	case c.TolerateShare > 0 && c.Tolerate == 0:
		return fmt.Errorf("tolerates a share, and no time")
	}
	return nil
}

// forever is long enough, and three times as much still fits a duration.
const forever = 90 * 365 * 24 * time.Hour

// times returns n times d, or forever if that is less.
func times(n int, d time.Duration) time.Duration {
	if n > 0 && d > forever/time.Duration(n) {
		return forever
	}
	return time.Duration(n) * d
}

// fill puts the defaults where there is nothing.
func (c *Check) fill() {
	c.Timeout = min(cmp.Or(c.Timeout, DefaultTimeout), forever)
	c.Interval = min(cmp.Or(c.Interval, DefaultInterval), forever)
	c.FailingInterval = min(cmp.Or(c.FailingInterval, c.Interval), forever)
	c.TTL, c.Tolerate = min(c.TTL, forever), min(c.Tolerate, forever)
	c.FailureThreshold = cmp.Or(c.FailureThreshold, 1)
	c.SuccessThreshold = cmp.Or(c.SuccessThreshold, 1)
}

// verdictTime is how long the check may take to find that it is failing.
func (c *Check) verdictTime() time.Duration {
	return min(c.Timeout+times(c.FailureThreshold-1, c.FailingInterval+c.Timeout), forever)
}

// A state is what is known of a check.
type state int

const (
	unknown state = iota // no run is over yet, or none since it was skipped
	passing
	failing
	skipped // something that it depends on fails
)

func (s state) String() string {
	return [...]string{"unknown", "passing", "failing", "skipped"}[s]
}

// A check is a registered one. What stands above mu's part does not change.
type check struct {
	Check
	kind     kind
	deps     []*check
	patience time.Duration // how long deps may keep a run from starting
	beat     *Heartbeat    // instead of Func; nil: it has a Func
	needed   bool          // by a check that runs at an interval; under the mutex
	followed bool          // another check depends on it; under the mutex
	tooLate  bool          // it was added after Shutdown, and turns nothing red

	// Stored under the registry's mutex only.
	known atomic.Pointer[result]
	moot  atomic.Bool // a probe has no run to demand or to wait for, however old the result

	// Guarded by the registry's mutex.
	broken    string // how it first panicked or left its goroutine; empty: not yet
	running   bool
	void      bool          // what the present run says does not count any more
	asked     bool          // a run was demanded, at any time
	demanded  bool          // a run is demanded, and has not begun
	held      bool          // by a run that is late, of something that it depends on
	over      chan struct{} // closed when there is no run to wait for any more; nil: nobody waits
	began     time.Time     // when the last run did
	next      time.Time     // when the next run is to start
	due       time.Time     // when not to have a result counts as a failure; zero: never
	failures  int           // in a row
	successes int           // in a row
	troubled  bool          // it failed or was skipped, and has not passed since
	allowance allowance
}

// A result is what is known of a check. It is immutable.
type result struct {
	state   state
	ended   time.Time     // when the last run was over; zero: none was
	took    time.Duration // the last run
	text    string        // what the check says when it fails
	public  string        // the same in words of ours, for everybody; empty: there are none
	causes  []string      // the roots of what fails, if skipped
	expires time.Time     // when it is failing by age; zero: never

	// How long a failure is tolerated: until then if it is one, and for as
	// long if it expires.
	tolerated time.Time
	budget    time.Duration
}

// A view is a result at a given time.
type view struct {
	*result
	state state
	red   bool      // it takes the probe with it
	late  bool      // it is failing by age
	until time.Time // when this view changes by itself; zero: it does not
}

// view returns what the check is at time t, if nothing is published until then.
func (c *check) view(t time.Time) view {
	v := view{result: c.known.Load()}
	v.state = v.result.state
	expires, tolerated := v.expires, v.tolerated
	if c.beat != nil {
		v.state, expires = passing, c.beat.expires(t)
	}
	if v.state == passing || v.state == unknown {
		switch {
		case expires.IsZero():
		case t.Before(expires):
			v.until = expires
		default:
			v.state, v.late = failing, true
			tolerated = expires.Add(v.budget)
		}
	}
	switch {
	case v.state == unknown && (c.InitiallyPassing || c.kind == liveness):
		v.state = passing
	case v.state != passing && !c.Optional && !c.tooLate:
		if v.red = !t.Before(tolerated); !v.red {
			v.until = tolerated
		}
	}
	return v
}

// firstExpires returns when a check that has not run must have, to go on passing.
// Zero is the answer for one that fails until then.
func (c *check) firstExpires(now time.Time) time.Time {
	if !c.InitiallyPassing {
		return time.Time{}
	}
	return now.Add(c.Interval + c.patience + c.Timeout)
}

// reason says why the check does not pass: in full if that is allowed.
func (c *check) reason(v view, allowed bool) string {
	switch {
	case v.late && c.beat != nil:
		return c.beat.late()
	case v.late:
		return "no result in time"
	case v.result.state == unknown:
		return "not run yet"
	case v.state == skipped:
		return "skipped because of " + list(v.causes, maxRest)
	case allowed:
		return oneLine(v.text, maxText)
	case v.public != "":
		return v.public
	default:
		return "reason withheld"
	}
}

// importance is what the process makes of the check's failure.
func (c *check) importance() string {
	switch {
	case c.Optional:
		return "optional"
	case c.Tolerate > 0:
		return "shared"
	default:
		return "critical"
	}
}

// An allowance is for how long a shared check may fail and be tolerated. It is
// used while the check fails, and comes back while it passes.
type allowance struct {
	earned bool // the check has passed
	left   time.Duration
	at     time.Time // of left
}

// at returns the allowance at time t, by which the check has been in state s
// since the allowance was last noted.
func (c *check) allowanceAt(t time.Time, s state) allowance {
	a := c.allowance
	switch since := t.Sub(a.at); {
	case s == failing:
		a.left = max(a.left-since, 0)
	case s == passing && (!a.earned || c.TolerateShare == 0):
		a.left = c.Tolerate
	case s == passing:
		a.left = min(a.left+time.Duration(float64(since)*c.TolerateShare), c.Tolerate)
	}
	a.earned = a.earned || s == passing
	a.at = t
	return a
}

// earliest returns the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
