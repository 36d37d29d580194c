// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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

// A line is a record on its way to its handler.
type line struct {
	handler func() slog.Handler
	ctx     context.Context
	record  slog.Record
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
	if h.Enabled(line.ctx, line.record.Level) {
		h.Handle(line.ctx, line.record)
	}
}

// Enabled answers for the lines of each component, which are many, as the handler did
// when it was given its last line: only the courier may ask it.
func (s *story) Enabled(_ context.Context, level slog.Level) bool {
	return level > slog.LevelDebug || !s.brief.Load()
}

func (s *story) Handle(ctx context.Context, r slog.Record) error {
	l := line{s.handler, context.WithoutCancel(ctx), r.Clone()}
	if !s.courier.send(l) && s.courier.ended() { // a check that hung has come back after all
		s.write(l)
	}
	return nil
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
