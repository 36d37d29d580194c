// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	maxHistory = 100
	maxEvents  = 1000
	maxText    = 1 << 10 // bytes of an error
	maxError   = 8 << 10 // bytes of an error in the log
)

// A Change is a change of the state of a check, or of a probe as a whole.
type Change struct {
	Time  time.Time
	Probe string // "liveness", "readiness", "startup", or "serving" where that is not readiness
	Check string // the name of the check or of the step; empty: the probe itself

	// The state before and after: of a check "unknown", "passing", "failing" or
	// "skipped", of a probe "passing", "degraded" or "failing".
	From, To string

	// Reason is what a check says when it fails, or what the probe answers. It
	// has up to 1 KiB of the text of an error.
	Reason string
}

// History returns the last 100 changes, the oldest first.
func (r *Registry) History() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.history)
}

// An event is a change, and the line that is logged of it.
type event struct {
	Change
	level   slog.Level
	message string // empty: there is no line
	attrs   []slog.Attr
}

// noteLocked keeps a change, and has it delivered.
func (r *Registry) noteLocked(e event) {
	if len(r.history) == maxHistory {
		r.history = slices.Delete(r.history, 0, 1)
	}
	r.history = append(r.history, e.Change)
	if len(r.events) == maxEvents {
		r.events = slices.Delete(r.events, 0, 1)
		r.dropped++
	}
	r.events = append(r.events, e)
}

// noteCheckLocked notes that the state of a check has moved.
func (r *Registry) noteCheckLocked(c *check, from state, next *result, o outcome, now time.Time) {
	e := event{
		Change: Change{Time: now, Probe: c.kind.String(), Check: c.Name, From: from.String(), To: next.state.String()},
		attrs:  []slog.Attr{slog.String("check", c.Name), slog.String("probe", c.kind.String())},
	}
	switch {
	case next.state == failing:
		c.troubled = true
		e.Reason = oneLine(next.text, maxText)
		e.level, e.message = slog.LevelWarn, "probes: check is failing"
		e.attrs = append(e.attrs, slog.Duration("took", o.took), slog.String("error", next.text))
		if c.importance() != "critical" {
			e.attrs = append(e.attrs, slog.String("importance", c.importance()))
		}
		if o.stack != "" {
			e.attrs = append(e.attrs, slog.String("stack", o.stack))
		}
	case next.state == skipped:
		c.troubled = true
		e.Reason = "skipped because of " + list(next.causes, maxRest)
		e.level, e.message = slog.LevelInfo, "probes: check is skipped"
		e.attrs = append(e.attrs, slog.String("cause", list(next.causes, maxRest)))
	case next.state == passing && c.troubled:
		c.troubled = false
		e.level, e.message = slog.LevelInfo, "probes: check has recovered"
		e.attrs = append(e.attrs, slog.Duration("took", o.took))
	}
	r.noteLocked(e)
}

// noteProbeLocked notes that what a probe is answered has become another grade, or
// that it is off for another reason.
func (r *Registry) noteProbeLocked(k kind, from, to *verdict, now time.Time) {
	if from.grade == to.grade && from.off == to.off && (!to.off || from.line == to.line) {
		return
	}
	reason := to.line
	if to.line == maintenance.line && r.phase.reason != "" {
		reason += ": " + oneLine(r.phase.reason, maxText)
	}
	e := event{
		Change: Change{Time: now, Probe: k.String(), From: from.grade.String(), To: to.grade.String(), Reason: reason},
		level:  slog.LevelInfo,
		attrs:  []slog.Attr{slog.String("probe", k.String())},
	}
	switch to.grade {
	case good:
		e.message = "probes: probe passes"
	case degraded:
		e.message = "probes: probe passes, degraded"
		e.attrs = append(e.attrs, slog.String("reason", reason))
	case bad:
		e.message = "probes: probe fails"
		e.attrs = append(e.attrs, slog.String("reason", reason))
		if !to.off {
			e.level = slog.LevelWarn
		}
	}
	r.noteLocked(e)
}

// deliverLocked has changes delivered by a goroutine of their own, so that a
// Logger or a listener that blocks keeps no check from running. There is one at
// most, while there is something to deliver, and Run waits for it.
func (r *Registry) deliverLocked(ctx context.Context) {
	if len(r.events) > 0 && !r.delivering {
		r.delivering = true
		go r.deliver(context.WithoutCancel(ctx), nil)
	}
}

// deliver calls out what is left of an event, and then of all that there are. What
// calls runtime.Goexit loses itself, and a new goroutine goes on with the next.
func (r *Registry) deliver(ctx context.Context, rest []func()) {
	left := true // by runtime.Goexit
	defer func() {
		if left {
			go r.deliver(ctx, rest)
		}
	}()
	for {
		for len(rest) > 0 {
			next := rest[0]
			rest = rest[1:]
			next()
		}
		e, dropped, ok := r.takeEvent()
		if !ok {
			left = false
			return
		}
		rest = r.callouts(ctx, e, dropped)
	}
}

// callouts returns the calls that an event is delivered by.
func (r *Registry) callouts(ctx context.Context, e event, dropped int) (calls []func()) {
	if dropped > 0 {
		calls = append(calls, func() {
			r.log(ctx, slog.LevelWarn, "probes: changes were not delivered", slog.Int("changes", dropped))
		})
	}
	if e.message != "" {
		calls = append(calls, func() { r.log(ctx, e.level, e.message, e.attrs...) })
	}
	return append(calls, func() { r.tell(ctx, e.Change) })
}

// takeEvent takes what is to be delivered next. If there is nothing, delivery is
// over.
func (r *Registry) takeEvent() (e event, dropped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		r.delivering = false
		r.wakeLocked()
		return event{}, 0, false
	}
	e, dropped = r.events[0], r.dropped
	r.events, r.dropped = slices.Delete(r.events, 0, 1), 0
	return e, dropped, true
}

// log writes a line. A Logger that panics has lost it.
func (r *Registry) log(ctx context.Context, level slog.Level, message string, attrs ...slog.Attr) {
	defer func() { _ = recover() }()
	logger := r.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.LogAttrs(ctx, level, message, attrs...)
}

// tell calls the listener.
func (r *Registry) tell(ctx context.Context, c Change) {
	if r.OnChange == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			r.log(ctx, slog.LevelError, "probes: listener panicked",
				slog.String("error", panicText(v)), slog.String("stack", string(debug.Stack())))
		}
	}()
	r.OnChange(c)
}

// bounded returns a text, or as much of it and three dots.
func bounded(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "..." // a copy, which lets go of the rest
	}
	return text
}

// oneLine makes a text fit a line of an answer, and so many bytes.
func oneLine(text string, most int) string {
	text = strings.ToValidUTF8(bounded(text, most), "?")
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, text)
}

// panicText says what a panic carried, which may panic when it is asked, or leave
// the goroutine, which is therefore one of its own.
func panicText(v any) string {
	said := make(chan string, 1)
	go func() {
		text := "panic"
		defer func() {
			_ = recover()
			said <- text
		}()
		text = bounded(fmt.Sprintf("panic: %v", v), maxError)
	}()
	return <-said
}
