// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxNames bounds the list of names in an answer, in bytes. The kubelet reads
// 10 KiB and then closes the connection under the writer.
const maxNames = 9 << 10

// An answer is prepared once and then only read.
type answer struct {
	code   int
	body   []byte
	length []string // the Content-Length header
}

func newAnswer(code int, body string) *answer {
	return &answer{code, []byte(body), []string{strconv.Itoa(len(body))}}
}

var (
	ok           = newAnswer(http.StatusOK, "ok\n")
	starting     = newAnswer(http.StatusServiceUnavailable, "not ready: starting\n")
	shuttingDown = newAnswer(http.StatusServiceUnavailable, "not ready: shutting down\n")
)

// A verdict is what one kind of probe is answered until a given time, and what
// after it if nothing has been published by then. So a result that is not
// renewed expires without anybody's help, and the answer names the check.
type verdict struct {
	now   *answer
	then  *answer // nil: now does not expire
	until time.Time
}

func (v *verdict) answer() *answer {
	if v.then != nil && time.Since(v.until) >= 0 {
		return v.then
	}
	return v.now
}

// A snapshot has the verdict of each kind of probe. It is immutable.
type snapshot [kinds]verdict

// initial is the snapshot of a registry to which nothing has happened.
var initial = snapshot{liveness: {now: ok}, readiness: {now: starting}, startup: {now: starting}}

// publishLocked computes what the probes are answered from now on. It is the
// only place that does.
func (r *Registry) publishLocked(now time.Time) {
	s := initial
	s[liveness] = r.verdictLocked(liveness, now)
	if r.started {
		s[startup] = verdict{now: ok}
		s[readiness] = r.verdictLocked(readiness, now)
	}
	if r.down { // last: nothing that the checks say may undo it
		s[readiness] = verdict{now: shuttingDown}
	}
	r.current.Store(&s)
	if r.published != nil {
		close(r.published)
		r.published = nil
	}
}

// verdictLocked aggregates the checks of one kind.
func (r *Registry) verdictLocked(k kind, now time.Time) verdict {
	v := verdict{now: r.answerLocked(k, now)}
	for _, c := range r.checks {
		if c.kind == k && !c.bad(now) {
			v.until = earliest(v.until, c.due)
		}
	}
	if !v.until.IsZero() {
		v.then = r.answerLocked(k, v.until)
	}
	return v
}

// answerLocked returns the answer at time t if nothing changes until then.
func (r *Registry) answerLocked(k kind, t time.Time) *answer {
	var names []string
	for _, c := range r.checks {
		if c.kind == k && c.bad(t) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return ok
	}
	not := "not ready: "
	if k == liveness {
		not = "not live: "
	}
	return newAnswer(http.StatusServiceUnavailable, not+list(names)+"\n")
}

// bad reports whether the check counts as failing at time t, if nothing changes
// until then.
func (c *check) bad(t time.Time) bool {
	switch c.state {
	case failing:
		return true
	case unknown:
		return c.kind == readiness || c.overdue(t)
	default:
		return c.overdue(t)
	}
}

func (c *check) overdue(t time.Time) bool {
	return !c.due.IsZero() && !t.Before(c.due)
}

// list joins names, as many as fit.
func list(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if b.Len()+len(", ")+len(name) > maxNames {
			if i == 0 {
				return fmt.Sprintf("%d checks", len(names))
			}
			fmt.Fprintf(&b, ", and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return b.String()
}

// earliest returns the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
