// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// An answer is a plain one, prepared once and then only read.
type answer struct {
	body   []byte
	length []string // the Content-Length header
}

func newAnswer(body string) *answer {
	return &answer{[]byte(body), []string{strconv.Itoa(len(body))}}
}

// A grade is how good a probe's answer is.
type grade int

const (
	good     grade = iota
	degraded       // it passes all the same
	bad
)

func (g grade) String() string { return [...]string{"passing", "degraded", "failing"}[g] }

// A verdict is what a probe is answered until a given time, if nothing is
// published before. So a result that is not renewed expires without anybody's
// help. It is immutable.
type verdict struct {
	grade grade
	off   bool // it fails on purpose
	line  string
	plain *answer // the line
	until time.Time
	ask   time.Time // when a probe is to demand a run or to wait for one; zero: never
}

func newVerdict(g grade, line string) *verdict {
	return &verdict{grade: g, line: line, plain: newAnswer(line + "\n")}
}

var (
	allWell      = newVerdict(good, "ok")
	shuttingDown = &verdict{grade: bad, off: true, line: "not ready: shutting down", plain: newAnswer("not ready: shutting down\n")}
	maintenance  = &verdict{grade: bad, off: true, line: "not ready: maintenance", plain: newAnswer("not ready: maintenance\n")}
)

// code returns the HTTP status of a verdict.
func (r *Registry) code(v *verdict) int {
	if v.grade != bad {
		return http.StatusOK
	}
	if v.off && isFailure(r.OffCode) {
		return r.OffCode
	}
	if isFailure(r.FailureCode) {
		return r.FailureCode
	}
	return http.StatusServiceUnavailable
}

func isFailure(code int) bool { return code >= 400 && code <= 599 }

// A phase is where the process is in its life, apart from its checks.
type phase struct {
	steps   []step // copied before it changes
	started bool   // Started was called
	up      bool   // and no step is missing

	maintained bool
	reason     string    // for maintenance
	back       time.Time // when maintenance ends by itself; zero: it does not

	down   bool      // Shutdown was called
	at     time.Time // when that was: what readiness checks are from then on
	closed bool      // AcceptWindowClosed was called
	redAt  Moment
	last   *verdict // on readiness when Shutdown was called
}

// A snapshot has the verdict on each probe. All but later is immutable; the
// results of the checks may be newer than the snapshot, which is then about to be
// replaced.
type snapshot struct {
	phase
	checks   roster
	verdicts [kinds]*verdict
	later    [kinds]atomic.Pointer[verdict] // the verdicts after these
}

// initial is the snapshot of a registry to which nothing has happened.
var initial = newSnapshot(phase{}, roster{}, time.Time{})

func newSnapshot(p phase, checks roster, now time.Time) *snapshot {
	s := &snapshot{phase: p, checks: checks}
	for k := range kinds {
		if k == serving && !p.down {
			s.verdicts[serving] = s.verdicts[readiness]
			continue
		}
		s.verdicts[k] = s.judge(k, now)
	}
	return s
}

// with is newSnapshot when some checks have been added to those of s, and costs no more
// the more there are: nobody is to pay for thousands of them each time that one comes.
func (s *snapshot) with(added []*check, all roster, now time.Time) *snapshot {
	next := &snapshot{phase: s.phase, checks: all, verdicts: s.verdicts}
	for k := range kinds {
		switch {
		case k == serving && !s.down:
			next.verdicts[serving] = next.verdicts[readiness]
		case s.overruling(k, now) == nil:
			if next.verdicts[k] = s.verdicts[k].with(added, k.checks(), now); next.verdicts[k] == nil {
				next.verdicts[k] = next.judge(k, now)
			}
		}
	}
	return next
}

// with returns the verdict that v becomes by more checks of a kind, or nil if that has
// to be judged anew. One that only says more than v is over at once, so that its line
// is made when and if it is asked for.
func (v *verdict) with(added []*check, k kind, now time.Time) *verdict {
	next, worst := *v, good
	for _, c := range added {
		if c.kind != k {
			continue
		}
		seen := c.view(now)
		next.until = earliest(next.until, seen.until)
		if c.TTL > 0 && seen.state != skipped {
			next.ask = earliest(next.ask, c.stale(seen.result, now))
		}
		switch {
		case seen.state == passing:
		case seen.red:
			worst = bad
		default:
			worst = max(worst, degraded)
		}
	}
	switch {
	case worst == good:
	case worst > v.grade:
		return nil
	default:
		next.until = now
	}
	return &next
}

// snapshot returns the latest one.
func (r *Registry) snapshot() *snapshot {
	if s := r.current.Load(); s != nil {
		return s
	}
	return initial
}

// verdict returns what the probe is answered now.
func (s *snapshot) verdict(k kind) *verdict {
	v := s.verdicts[k]
	if v.until.IsZero() || time.Since(v.until) < 0 {
		return v
	}
	return s.expired(k)
}

// expired returns the verdict after the first one. It is computed once for the
// time that it holds, so that the probes stay O(1) when nothing is published.
func (s *snapshot) expired(k kind) *verdict {
	if k == serving { // before Shutdown; then it does not expire
		k = readiness
	}
	now := time.Now()
	if v := s.later[k].Load(); v != nil && (v.until.IsZero() || now.Before(v.until)) {
		return v
	}
	v := s.judge(k, now)
	s.later[k].Store(v)
	return v
}

// judge returns the verdict on a probe at a given time.
func (s *snapshot) judge(k kind, now time.Time) *verdict {
	if v := s.overruling(k, now); v != nil {
		return v
	}
	return s.judgeChecks(k.checks(), now, nil, nil)
}

// asks returns when a probe that is told of the checks is to demand a run or to wait
// for one, and zero if never: also where they have no say in what the others are
// answered, such as in maintenance, since it is told what they are.
func (s *snapshot) asks(k kind) time.Time {
	if s.down || k.checks() != readiness {
		return time.Time{}
	}
	return s.judgeChecks(readiness, time.Now(), nil, nil).ask
}

// overruling returns the verdict on a probe where the checks have no say, and nil
// where they do.
func (s *snapshot) overruling(k kind, now time.Time) *verdict {
	switch {
	case k == liveness:
		return nil
	case k == startup && s.up:
		return allWell
	case k == startup:
		return s.missing()
	case s.down && s.red(k): // before all else: nothing may undo it
		return shuttingDown
	case s.down:
		return s.last
	case !s.up:
		return s.missing()
	case s.maintained && (s.back.IsZero() || now.Before(s.back)):
		v := *maintenance
		v.until = s.back
		return &v
	default:
		return nil
	}
}

// red reports whether a readiness probe is red because of the shutdown.
func (s *snapshot) red(k kind) bool {
	moment := s.redAt
	if k == serving {
		moment = AtAcceptWindowClosed
	}
	return moment == AtShutdown || moment == AtAcceptWindowClosed && s.closed
}

// missing is the verdict while the process starts.
func (s *snapshot) missing() *verdict {
	var names []string
	for _, step := range s.steps {
		if !step.done {
			names = append(names, step.name)
		}
	}
	line := "not ready: starting"
	if len(names) > 0 {
		line += ", missing: " + list(names, maxNames)
	}
	return newVerdict(bad, line)
}

// judgeChecks aggregates the checks of one kind, but those that are excluded. It
// adds what it has seen of each to items, unless that is nil.
func (s *snapshot) judgeChecks(k kind, now time.Time, excluded map[string]bool, items *[]item) *verdict {
	var causes, left, worse []string // what fails, what is skipped, what is degraded
	var until, ask time.Time
	if s.down && k == readiness {
		now = s.at
	}
	for c := range s.checks.all() {
		if c.kind != k {
			continue
		}
		v := c.view(now)
		if items != nil {
			*items = append(*items, item{check: c, view: v})
		}
		until = earliest(until, v.until)
		if c.TTL > 0 && v.state != skipped && !c.moot.Load() {
			ask = earliest(ask, c.stale(v.result, now))
		}
		switch {
		case v.state == passing || excluded[c.Name]:
		case !v.red:
			worse = append(worse, c.Name)
		case v.state == skipped:
			left = append(left, c.Name)
			causes = append(causes, v.causes...)
		default:
			causes = append(causes, c.Name)
		}
	}
	v := *allWell
	switch {
	case len(causes) > 0:
		v = *newVerdict(bad, notLine(k, causes, left))
	case len(worse) > 0:
		v = *newVerdict(degraded, "ok, degraded: "+list(worse, maxNames))
	}
	v.until, v.ask = until, ask
	return &v
}

func notLine(k kind, causes, left []string) string {
	slices.Sort(causes)
	line := "not ready: "
	if k == liveness {
		line = "not live: "
	}
	line += list(slices.Compact(causes), maxNames)
	if len(left) > 0 {
		line += "; skipped: " + list(left, maxRest)
	}
	return line
}

// stale returns when the result of a check on demand is too old.
func (c *check) stale(known *result, now time.Time) time.Time {
	if known.ended.IsZero() {
		return now
	}
	return known.ended.Add(c.TTL)
}

// publishLocked makes what has changed the answer of the probes.
func (r *Registry) publishLocked(now time.Time) {
	r.moved = false
	r.replaceLocked(newSnapshot(r.phase, r.checks, now), now)
}

func (r *Registry) replaceLocked(s *snapshot, now time.Time) {
	before := r.snapshot()
	r.current.Store(s)
	for k := range kinds {
		if k != serving || before.down { // until then it is readiness
			r.noteProbeLocked(k, before.verdicts[k], s.verdicts[k], now)
		}
	}
	if len(r.events) > 0 && !r.delivering {
		r.wakeLocked()
	}
	if r.published != nil && s.news(before) {
		close(r.published)
		r.published = nil
	}
}

// news reports whether who watches has to look again: because something is
// answered otherwise, or will be so before the time that is known of. If that time
// is over, who watches may have seen what came after it, which is in no snapshot.
// That is asked of the clock, now that the results are stored that s is of.
func (s *snapshot) news(before *snapshot) bool {
	for k, v := range s.verdicts {
		b := before.verdicts[k]
		if !b.until.IsZero() && time.Since(b.until) >= 0 {
			return true
		}
		if v.grade != b.grade || v.line != b.line || !earliest(v.until, b.until).Equal(b.until) {
			return true
		}
	}
	return s.down != before.down
}
