// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package lifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// A story is a log handler that hands its lines to another one by a courier: a
// log that blocks, on a full pipe for example, must not keep a component from
// being stopped.
type story struct {
	slog.Handler
	*log
}

// A log is what a story shares with those derived from it.
type log struct {
	courier *courier[line]
	broken  atomic.Pointer[string] // how the handler has panicked first
}

// A line is a record on its way to its handler.
type line struct {
	handler slog.Handler
	ctx     context.Context
	record  slog.Record
}

func newStory(h slog.Handler) *story {
	s := &story{h, new(log)}
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
	line.handler.Handle(line.ctx, line.record)
}

func (s *story) Handle(ctx context.Context, r slog.Record) error {
	sent := s.courier.send(line{s.Handler, context.WithoutCancel(ctx), r.Clone()})
	if !sent && s.courier.ended() { // a check that hung has come back after all
		return s.Handler.Handle(ctx, r)
	}
	return nil
}

func (s *story) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &story{s.Handler.WithAttrs(attrs), s.log}
}

func (s *story) WithGroup(name string) slog.Handler {
	return &story{s.Handler.WithGroup(name), s.log}
}
