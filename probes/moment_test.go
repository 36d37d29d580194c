// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/probes"
)

// Each readiness probe turns red at its moment, neither before nor after, with the
// status that is set, in every format and on every path.
func TestMomentsAndCodes(t *testing.T) {
	const (
		at     = 10 * time.Second // Shutdown
		closes = 25 * time.Second // the accept window
	)
	for _, tt := range []struct {
		moment probes.Moment
		redAt  time.Duration // of readiness; zero: never
	}{
		{probes.AtShutdown, at}, {probes.AtAcceptWindowClosed, closes}, {probes.Never, 0},
	} {
		for _, codes := range []struct{ failure, off, want int }{
			{0, 0, 503}, {0, 404, 404}, {500, 0, 500}, {500, 404, 404},
		} {
			t.Run(fmt.Sprintf("%d/%d-%d", tt.moment, codes.failure, codes.off), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.RedAt, r.FailureCode, r.OffCode = tt.moment, codes.failure, codes.off
					require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Func: pass, Interval: 10 * forLong}))
					require.NoError(t, r.AddLiveness("loop", func() error { return nil }))
					r.run()
					h := r.Handler()
					t0 := time.Now()
					expect := func(path string, red bool) {
						t.Helper()
						for _, sub := range []string{"", "/", "/db"} {
							for _, query := range []string{"", "?verbose", "?exclude=db", "?format=json", "?format=json&verbose", "?format=html"} {
								for _, method := range []string{http.MethodGet, http.MethodHead} {
									code := 200
									if red {
										code = codes.want
									}
									w := request(h, method, path+sub+query)
									assert.Equal(t, code, w.Code, "%s%s%s after %v", path, sub, query, time.Since(t0))
									if method == http.MethodGet && query != "?format=html" { // which has the history
										assert.Equal(t, red, strings.Contains(w.Body.String(), "not ready: shutting down"), "%s%s%s", path, sub, query)
									}
								}
							}
						}
					}
					all := func() {
						t.Helper()
						now := time.Since(t0)
						expect("/readyz", tt.redAt > 0 && now >= tt.redAt)
						expect("/servingz", now >= closes)
						for _, path := range []string{"/livez", "/livez/loop", "/startupz"} {
							assert.Equal(t, http.StatusOK, request(h, http.MethodGet, path).Code)
						}
					}
					time.Sleep(at - 1)
					all()
					time.Sleep(time.Nanosecond)
					r.Shutdown()
					all()
					time.Sleep(closes - at - 1)
					all()
					time.Sleep(time.Nanosecond)
					r.AcceptWindowClosed()
					all()
					r.EndMaintenance()
					r.Started()
					time.Sleep(forLong)
					all()
					r.end()
					all()
				})
			})
		}
	}
}

// A check that is added after Shutdown is not run, however it is to run, and
// changes no answer; one that is added before and was not run yet is not run any
// more. A liveness check is.
func TestAddedAfterShutdown(t *testing.T) {
	for _, moment := range []probes.Moment{probes.AtShutdown, probes.AtAcceptWindowClosed, probes.Never} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.RedAt = moment
			var old, late, onDemand, dependant, own atomic.Int32
			counted := func(n *atomic.Int32) func(context.Context) error {
				return func(context.Context) error { n.Add(1); return nil }
			}
			r.ready("down", fail)
			r.run()
			require.NoError(t, r.AddReadiness(probes.Check{Name: "waits", DependsOn: []string{"down"}, Func: counted(&old)}))
			before := r.readyz()
			r.Shutdown()
			if moment == probes.AtShutdown {
				before = shutdown
			}
			require.Equal(t, before, r.readyz())
			require.NoError(t, r.AddReadiness(
				probes.Check{Name: "late", Func: counted(&late)},
				probes.Check{Name: "late, on demand", TTL: time.Second, Func: counted(&onDemand)},
				probes.Check{Name: "late, dependant", DependsOn: []string{"late"}, Func: counted(&dependant)},
			))
			require.NoError(t, r.AddLiveness("late", func() error { own.Add(1); return nil }))
			for range 10 {
				time.Sleep(time.Minute)
				assert.Equal(t, before, r.readyz())
				for _, name := range []string{"late", "late,%20on%20demand", "late,%20dependant"} {
					request(r.Handler(), http.MethodGet, "/readyz/"+name) // which asks for it, if anything does
				}
			}
			assert.Zero(t, old.Load()+late.Load()+onDemand.Load()+dependant.Load())
			assert.Greater(t, own.Load(), int32(100))
			r.end()
		})
	}
}

// What a run says that Shutdown has overtaken is nobody's business any more: what it
// asks may have been stopped before it.
func TestRunThatShutdownOvertakes(t *testing.T) {
	for name, f := range map[string]func() error{
		"fails":   func() error { return errDown },
		"panics":  func() error { panic("connection pool is closed") },
		"returns": func() error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.RedAt = probes.Never
				var stopped atomic.Bool
				require.NoError(t, r.AddReadiness(probes.Check{Name: "db", Interval: time.Second, Jitter: -1, Func: func(context.Context) error {
					time.Sleep(500 * time.Millisecond)
					if stopped.Load() {
						return f()
					}
					return nil
				}}))
				r.run()
				time.Sleep(1600 * time.Millisecond) // while the second run is under way
				require.Equal(t, okBody, r.readyz())
				r.Shutdown()
				stopped.Store(true)
				r.all()
				history := r.History()
				time.Sleep(time.Second)
				assert.Equal(t, okBody, r.readyz())
				assert.Empty(t, r.all())
				assert.Equal(t, history, r.History())
				assert.Zero(t, goroutines(), "and it is not run again")
				r.end()
			})
		})
	}
}
