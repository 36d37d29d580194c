// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

type badError struct{}

func (*badError) Error() string { panic("no text") }

// A worseError cannot say, either, why it cannot say what it is.
type worseError struct{}

func (e worseError) Error() string { panic(e) }

func TestFailuresAreContained(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(context.Context) error
		want string
	}{
		{"error", fail, `"connection refused (password=hunter2)"`},
		{"empty error", func(context.Context) error { return errors.New("") }, `""`},
		{"panic", func(context.Context) error { panic("kaboom") }, `"panic: kaboom"`},
		{"panic with an error", func(context.Context) error { panic(errDown) }, `"panic: connection refused (password=hunter2)"`},
		{"Goexit", func(context.Context) error { runtime.Goexit(); return nil }, `"runtime.Goexit called"`},
		{"panic that cannot be told", func(context.Context) error { panic(worseError{}) }, `panic`},
		{"error that panics", func(context.Context) error { return new(badError) }, `"panic: no text"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var broken atomic.Bool
				calls := 0
				r.ready("db", func(ctx context.Context) error {
					calls++
					time.Sleep(20 * time.Millisecond)
					if broken.Load() {
						return tt.f(ctx)
					}
					return nil
				})
				r.run()
				time.Sleep(time.Second)
				require.Equal(t, okBody, r.readyz())
				assert.Empty(t, r.log(), "the first result is not a recovery")

				broken.Store(true)
				time.Sleep(3 * probes.DefaultInterval)
				assert.Equal(t, "503 not ready: db\n", r.readyz())
				line, stack, _ := strings.Cut(strings.TrimSpace(r.log()), " stack=")
				assert.Equal(t, "level=WARN msg=\"probes: check is failing\" check=db probe=readiness took=20ms error="+tt.want, line, "one line")
				panics := strings.Contains(tt.want, "panic")
				assert.Equal(t, panics, strings.Contains(stack, "probes_test."), "a panic has its stack in the log")
				if panics || tt.name == "Goexit" {
					assert.Equal(t, map[string]string{"db": strings.Trim(tt.want, `"`)}, r.Panics())
				} else {
					assert.Empty(t, r.Panics())
				}

				broken.Store(false)
				time.Sleep(probes.DefaultInterval + 20*time.Millisecond)
				assert.Equal(t, okBody, r.readyz())
				assert.Equal(t, "level=INFO msg=\"probes: check has recovered\" check=db probe=readiness took=20ms\n", r.log())
				r.end()
				assert.GreaterOrEqual(t, calls, 5)
			})
		})
	}
}

type exitingError struct{}

func (exitingError) Error() string { runtime.Goexit(); return "" }

// A check whose panic leaves its goroutine when asked for its text is over all
// the same, and is run again.
func TestPanicWhoseTextExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		calls := 0
		r.ready("db", func(context.Context) error {
			if calls++; calls == 2 {
				panic(exitingError{})
			}
			return nil
		})
		r.run()
		time.Sleep(forLong)
		synctest.Wait()
		assert.Greater(t, calls, 2)
		assert.Equal(t, okBody, r.readyz())
		r.end()
	})
}
