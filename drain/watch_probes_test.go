// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package drain_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lameduck-go/lameduck/drain"
)

// A sideline is a server whose probes another listener serves.
type sideline struct {
	*rig
	red   atomic.Bool
	probe func(agent, path string)
}

func startSideline(t *testing.T, srv *drain.Server) *sideline {
	s := new(sideline)
	h := srv.WatchProbes(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.red.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s.probe = func(agent, path string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		r.Header.Set("User-Agent", agent)
		h.ServeHTTP(w, r)
		assert.Equal(t, s.red.Load(), w.Code == 503)
	}
	s.rig = start(t, srv, ok)
	return s
}

func TestProbesOfAnotherListenerCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startSideline(t, &drain.Server{FailureThreshold: 3})
		for range 2 {
			s.probe("a", "/readyz")
			s.probe("a", "/other") // is no probe
			time.Sleep(time.Second)
		}
		s.red.Store(true)
		for i := range 5 {
			time.AfterFunc(time.Duration(i+1)*time.Second, func() { s.probe("a", "/readyz") })
		}
		report, took, err := s.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, report.Accept.Took)
		assert.Equal(t, 3*time.Second, took)
		assert.True(t, report.Quiet)
		time.Sleep(10 * time.Second)
		s.nothingOpen()
	})
}

// The table of probers is bounded. Who was forgotten is seen by how long the window
// waits: three times the gap between the two requests of who is left.
func TestProbersAreForgotten(t *testing.T) {
	const full = 1024
	crowd := func(s *sideline, n int, name string) {
		for i := range n {
			s.probe(fmt.Sprint(name, i), "/readyz")
		}
	}
	for _, tt := range []struct {
		name   string
		before func(s *sideline)
		want   time.Duration
	}{
		{"not one that asks regularly, for names that ask once", func(s *sideline) {
			s.probe("a", "/readyz")
			time.Sleep(10 * time.Second)
			s.probe("a", "/readyz")
			crowd(s, 5*full, "stray")
		}, 30 * time.Second},
		{"names that ask once, for one that begins to ask", func(s *sideline) {
			crowd(s, 5*full, "stray")
			time.Sleep(time.Second)
			s.probe("a", "/readyz")
			time.Sleep(2 * time.Second)
			crowd(s, full-1, "another")
			s.probe("a", "/readyz")
		}, 6 * time.Second},
		{"the name that asked longest ago first", func(s *sideline) {
			s.probe("a", "/readyz")
			time.Sleep(2 * time.Second)
			crowd(s, full, "stray")
			s.probe("a", "/readyz") // for the first time, as far as is known
		}, 0},
		{"who has gone before who is waited for", func(s *sideline) {
			s.probe("a", "/readyz")
			time.Sleep(10 * time.Second)
			s.probe("a", "/readyz")
			for range 2 {
				time.Sleep(time.Second)
				crowd(s, full-1, "regular")
			}
			time.Sleep(3 * time.Second)
			crowd(s, full-1, "stray")
		}, 25 * time.Second},
		{"of those waited for the one that asked longest ago", func(s *sideline) {
			s.probe("a", "/readyz")
			time.Sleep(10 * time.Second)
			s.probe("a", "/readyz")
			for range 2 {
				time.Sleep(4 * time.Second)
				crowd(s, full-1, "regular")
			}
			s.probe("newcomer", "/readyz")
		}, 12 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startSideline(t, &drain.Server{FailureThreshold: 3, Floor: -1, Cap: time.Minute})
				tt.before(s)
				report, _, err := s.drain(5 * time.Minute)
				require.NoError(t, err)
				assert.Equal(t, tt.want, report.Accept.Took)
				s.nothingOpen()
			})
		})
	}
}

// What is remembered of a prober is not the line that its request came in, nor what
// somebody makes of its address.
func TestProbersAreRememberedInLittleRoom(t *testing.T) {
	srv := &drain.Server{FailureThreshold: 3}
	h := srv.WatchProbes(http.HandlerFunc(ok))
	probe := func(agent, query, addr string) {
		r := httptest.NewRequest("GET", "/readyz"+query, nil)
		r.Header.Set("User-Agent", agent)
		r.RemoteAddr = addr
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	long := strings.Repeat("x", 1<<20)
	before := heap()
	for i := range 16 {
		probe(fmt.Sprint(i), "?"+long, "10.0.0.1:80")
		probe("a", "", fmt.Sprint(i, long))
	}
	assert.Less(t, heap()-before, int64(4<<20))
	runtime.KeepAlive(srv)
}

// heap returns how many bytes are reachable.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Many ask at the same instants, while others look at what they were told.
func TestProbersAskAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const period = 100 * time.Millisecond
		s := startSideline(t, &drain.Server{FailureThreshold: 3, Floor: -1})
		stop := make(chan struct{})
		defer synctest.Wait()
		defer close(stop)
		for i := range 100 {
			go func() {
				time.Sleep(time.Duration(i/10) * time.Millisecond)
				for {
					s.probe(fmt.Sprint(i), "/readyz")
					select {
					case <-time.After(period):
					case <-stop:
						return
					}
				}
			}()
		}
		time.Sleep(10*period + period/2)
		s.red.Store(true)
		report, _, err := s.drain(28 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, period/2+2*period+9*time.Millisecond, report.Accept.Took)
	})
}
