// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A story is a log handler that hands its lines to another one by a courier: a
// log that blocks, on a full pipe for example, must not keep a component from
// being stopped. All methods of the other one are called by the courier.
type story struct {
	handler func() slog.Handler // with the attributes and groups; for the courier
	*log
}

// A log is what a story shares with those derived from it.
type log struct {
	courier *courier[line]
	broken  atomic.Pointer[string] // how the handler has panicked first
	brief   atomic.Bool            // it wanted no debug lines when it was last asked
}

// A line is a record on its way to its handler. The courier makes it, and only if it
// is wanted.
type line struct {
	handler func() slog.Handler
	ctx     context.Context
	level   slog.Level
	record  func() slog.Record
}

func newStory(h slog.Handler) *story {
	s := &story{func() slog.Handler { return h }, new(log)}
	s.courier = newCourier(s.write)
	return s
}

// write writes a line. A handler that panics has lost this line, not the rest.
func (l *log) write(line line) {
	defer func() {
		if v := recover(); v != nil {
			text := fmt.Sprintf("panic: %v", v)
			l.broken.CompareAndSwap(nil, &text)
		}
	}()
	h := line.handler()
	l.brief.Store(!h.Enabled(line.ctx, slog.LevelDebug))
	if h.Enabled(line.ctx, line.level) {
		h.Handle(line.ctx, line.record())
	}
}

// Enabled answers for the lines of each component, which are many, as the handler did
// when it was given its last line: only the courier may ask it.
func (s *story) Enabled(_ context.Context, level slog.Level) bool {
	return level > slog.LevelDebug || !s.brief.Load()
}

func (s *story) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	s.hand(line{s.handler, context.WithoutCancel(ctx), r.Level, func() slog.Record { return r }})
	return nil
}

func (s *story) hand(l line) {
	if !s.courier.send(l) && s.courier.ended() { // a check that hung has come back after all
		s.write(l)
	}
}

// component writes one of the lines of which there are many: its record costs nothing
// but what makes it.
func (s *story) component(msg, name string, took time.Duration) {
	ctx := context.Background()
	if !s.Enabled(ctx, slog.LevelDebug) {
		return
	}
	now := time.Now()
	s.hand(line{s.handler, ctx, slog.LevelDebug, func() slog.Record {
		var pc [1]uintptr
		runtime.Callers(1, pc[:])
		r := slog.NewRecord(now, slog.LevelDebug, msg, pc[0])
		r.AddAttrs(slog.String("component", name), slog.Duration("took", took))
		return r
	}})
}

func (s *story) WithAttrs(attrs []slog.Attr) slog.Handler {
	return s.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (s *story) WithGroup(name string) slog.Handler {
	return s.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (s *story) with(f func(slog.Handler) slog.Handler) slog.Handler {
	return &story{sync.OnceValue(func() slog.Handler { return f(s.handler()) }), s.log}
}
